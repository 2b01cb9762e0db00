import type { HttpDeps } from '../context.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** What anyone may ask: alive, ready (503 with the reason when not), and which version this is. */
export function probeRoutes(add: AddRoute, deps: HttpDeps): void {
  const { workspace, instance } = deps;
  add('GET', '/livez', null, (ctx) => sendJson(ctx, 200, { status: 'ok' }));
  for (const path of ['/readyz', '/health']) {
    add('GET', path, null, (ctx) => {
      const { ready, reason } = deps.ready();
      sendJson(ctx, ready ? 200 : 503, {
        status: ready ? 'ready' : 'not_ready',
        ...(reason === undefined ? {} : { reason }),
        workspace,
        instance,
      });
    });
  }
  add('GET', '/version', null, (ctx) => sendJson(ctx, 200, deps.version));
}
