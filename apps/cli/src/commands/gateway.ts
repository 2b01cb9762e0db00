import { DuragentError, type GatewayView } from '@duragent/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectOperator } from '../client/connect.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';
import { ago } from './ago.ts';

/** Between two looks at a log that is followed, in ms. */
const FOLLOW_MS = 1_000;
/** How long a restart waits for the gateway to be ready or to fail, and between two looks, in ms. */
const START_MS = 2_000;
const LOOK_MS = 100;

/** `duragent gateway list`: all that are configured, and how they are. */
export async function listGateways(
  context: CliContext,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  const gateways = await client.gateways({ signal });
  if (options.output === 'json') {
    context.stdout.write(`${JSON.stringify(gateways, null, 2)}\n`);
    return 0;
  }
  if (gateways.length === 0) {
    context.stderr.write('No gateway is configured: see gateways.external in duragent.yaml.\n');
    return 0;
  }
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  const head = ['GATEWAY', 'STATE', 'SINCE', 'PID', 'RESTARTS', 'WHO', 'ABOUT'];
  context.stdout.write(table(head, gateways.map(rowOf), columns));
  return 0;
}

function rowOf({ name, state, since, pid, restarts, ready, reason }: GatewayView): string[] {
  const { username, id } = ready?.identity ?? {};
  const what = ready === null ? '' : `${ready.gateway} ${ready.version}`.trim();
  return [
    name,
    state,
    ago(since),
    pid === null ? '' : String(pid),
    String(restarts),
    username ?? id ?? '',
    reason ?? what,
  ].map(sanitizeLine);
}

/**
 * `duragent gateway restart`: its process ends, and a new one is started. Waits a moment for what
 * becomes of that.
 * @throws DuragentError failed, where it does not run.
 */
export async function restartGateway(context: CliContext, name: string): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  await client.restartGateway(name, { signal });
  const until = performance.now() + START_MS;
  let view: GatewayView | undefined;
  do {
    if (view !== undefined) await sleep(LOOK_MS);
    view = (await client.gateways({ signal })).find((gateway) => gateway.name === name);
  } while (view?.state === 'starting' && performance.now() < until);
  const shown = sanitizeLine(name);
  const state = view?.state ?? 'starting';
  if (state !== 'starting' && state !== 'ready') {
    const reason = view?.reason ?? `\`duragent gateway logs ${shown}\` may say why`;
    throw new DuragentError('failed', `${shown} does not run (${state}): ${reason}`);
  }
  if (!context.globals.quiet) {
    const next =
      state === 'ready' ? 'it is ready' : '`duragent gateway list` says when it is ready';
    context.stderr.write(`Restarted ${shown}; ${next}.\n`);
  }
  return 0;
}

/** `duragent gateway logs`: what it wrote to stderr; with `follow`, until Ctrl-C. */
export async function gatewayLogs(
  context: CliContext,
  name: string,
  options: { follow?: boolean; lines?: number },
): Promise<ExitCode> {
  const ending = new AbortController();
  const { signal } = ending;
  const client = await connectOperator(context, { signal });
  const write = (lines: readonly string[]): void => {
    for (const line of lines) context.stdout.write(`${sanitizeLine(line)}\n`);
  };
  if (options.follow !== true) {
    write(await client.gatewayLog(name, { signal, lines: options.lines }));
    return 0;
  }
  const stop = (): void => ending.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    let seen = await client.gatewayLog(name, { signal });
    write(options.lines === undefined ? seen : seen.slice(-options.lines));
    for (;;) {
      await sleep(FOLLOW_MS, undefined, { signal });
      const now = await client.gatewayLog(name, { signal, patienceMs: Infinity });
      write(now.slice(overlap(seen, now)));
      seen = now;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    return 0;
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/** How many of the lines now were the last ones before: the log keeps only its newest. */
export function overlap(before: readonly string[], now: readonly string[]): number {
  for (let dropped = 0; dropped < before.length; dropped += 1) {
    const kept = before.length - dropped;
    if (kept > now.length) continue;
    if (before.slice(dropped).every((line, index) => line === now[index])) return kept;
  }
  return 0;
}
