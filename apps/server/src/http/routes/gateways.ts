import type { GatewayView } from '@duragent/protocol';
import { readJson } from '../body.ts';
import type { Gateways, HttpDeps } from '../context.ts';
import { noBody, queryNumber } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** The gateways: how they are, a new start, and what they wrote to their logs. */
export function gatewayRoutes(add: AddRoute, deps: HttpDeps): void {
  add('GET', '/api/v1/admin/gateways', 'admin', (ctx) => {
    sendJson(ctx, 200, { gateways: deps.gateways.list().map(viewOf) });
  });

  /** Answers when its old process has ended and the new one was started. */
  add('POST', '/api/v1/admin/gateways/:name/restart', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    const name = ctx.params['name'] ?? '';
    await deps.gateways.restart(name);
    sendJson(ctx, 202, { name });
  });

  /** The newest lines, oldest first. */
  add('GET', '/api/v1/admin/gateways/:name/logs', 'admin', (ctx) => {
    const lines = queryNumber(ctx, 'lines', { min: 1, max: 100_000, fallback: null });
    const log = deps.gateways.logOf(ctx.params['name'] ?? '');
    sendJson(ctx, 200, { lines: lines === null ? log : log.slice(-lines) });
  });
}

function viewOf(gateway: ReturnType<Gateways['list']>[number]): GatewayView {
  const { name, state, reason, since, pid, restarts, dropped, unknown, ready } = gateway;
  return {
    name,
    state,
    reason,
    since,
    pid,
    restarts,
    dropped,
    unknown,
    ready: ready && {
      gateway: ready.gateway,
      version: ready.version,
      protocol: ready.protocol,
      capabilities: ready.capabilities,
      ...(ready.identity === undefined ? {} : { identity: ready.identity }),
    },
  };
}
