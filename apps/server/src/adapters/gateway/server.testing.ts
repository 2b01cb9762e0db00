import { setImmediate } from 'node:timers/promises';
import { DEFAULT_LIMITS } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import { processGateways } from './process.ts';

/**
 * A server with one gateway, as a process of its own: it can be killed, and its memory is measured.
 * `node server.testing.ts SCRIPT BEHAVIOUR [ARGUMENT]`. Tells of each event, and when asked by a
 * line on stdin of how much its memory has grown at most since `ready`.
 */
const [script = '', behaviour = '', argument = '', inbound = ''] = process.argv.slice(2);
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
};

let base = process.memoryUsage.rss();
let most = base;
let events = 0;
const sample = (): number => (most = Math.max(most, process.memoryUsage.rss()));
setInterval(sample, 5);

/** Fills the young heap up to its limit, as in any server that has worked for a while. */
function warmUp(): void {
  const kept: unknown[] = [];
  for (let i = 0; i < 2_000_000; i += 1) kept[i % 20_000] = { i, text: [i] };
}
warmUp();

const quiet = (): void => undefined;
const runner = processGateways({
  clock,
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  baseEnv: { PATH: '/usr/bin:/bin' },
  nodePath: process.execPath,
  binDirs: [],
  isRefusedVariable: () => false,
});
const gateway = runner.run(
  {
    name: 'scripted',
    command: process.execPath,
    args: [script, behaviour, argument],
    env: {},
    config: {},
    restart: 'never',
  },
  {
    settings: () => ({
      account: 'scripted',
      cursor: null,
      limits: DEFAULT_LIMITS,
      mediaDir: '/tmp',
      streaming: 'edit',
      commands: [],
    }),
    inbound: async () => {
      events += 1;
      if (inbound === 'never') await new Promise<never>(() => undefined);
      // A store that takes a moment for each.
      for (let i = 0; i < 3; i += 1) await setImmediate();
    },
    event: quiet,
    changed: ({ state, pid, reason }) => {
      if (state === 'ready') base = most = process.memoryUsage.rss();
      tell({ state, pid, reason });
    },
  },
);

process.stdin.on('data', () => {
  sample();
  const { dropped } = gateway.status;
  tell({ events, dropped, grownMiB: Math.round((most - base) / 2 ** 20), log: gateway.log });
});
process.stdin.on('end', () => void gateway.stop().then(() => process.exit(0)));
