import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  type CommandOf,
  DEFAULT_LIMITS,
  type GatewayEvent,
  type InboundEvent,
} from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { javascriptOf } from '../../../../../test/support/javascript.ts';
import { until } from '../../../../../test/support/until.ts';
import { refusedVariable } from '../../core/child-environment.ts';
import type {
  GatewayHost,
  GatewaySpec,
  GatewayState,
  GatewayStatus,
  RunningGateway,
} from '../../ports/gateway.ts';
import { systemClock } from '../clock/system.ts';
import { defaultLimits, type GatewayProcessLimits } from './limits.ts';
import { type ProcessGatewayOptions, processGateways } from './process.ts';

const script = javascriptOf(new URL('scripted-gateway.testing.ts', import.meta.url));
const serverScript = fileURLToPath(new URL('server.testing.ts', import.meta.url));

let dir: string;
let running: RunningGateway[];
let servers: ChildProcess[];
/** What has to be gone by itself, and is ended if it is not. */
let strays: number[];
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-gateway-'));
  running = [];
  servers = [];
  strays = [];
});
afterEach(async () => {
  await Promise.all(running.map((gateway) => gateway.stop()));
  for (const server of servers) {
    if (server.exitCode !== null || server.signalCode !== null) continue;
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  for (const pid of strays.filter(isAlive)) process.kill(pid, 'SIGKILL');
  await rm(dir, { recursive: true });
});

/** Short enough for a test, long enough for a busy machine. */
const quick: Partial<GatewayProcessLimits> = {
  endMs: 400,
  termMs: 200,
  closedStreamMs: 100,
  drainIdleMs: 300,
  backoffMs: 10,
  maxBackoffMs: 20,
  // So that nothing is degraded but where it is meant.
  maxRestarts: 1000,
};

/** A host that keeps what it is told. */
class Host implements GatewayHost {
  readonly inbounds: InboundEvent[] = [];
  readonly events: GatewayEvent[] = [];
  readonly statuses: GatewayStatus[] = [];
  cursor: unknown = null;
  /** What the store says. */
  store: (event: InboundEvent) => Promise<void> = () => Promise.resolve();

  settings() {
    return {
      account: 'scripted',
      cursor: this.cursor,
      limits: DEFAULT_LIMITS,
      mediaDir: dir,
      streaming: 'edit' as const,
      commands: [],
    };
  }
  inbound(event: InboundEvent): Promise<void> {
    this.inbounds.push(event);
    return this.store(event);
  }
  event(event: GatewayEvent): void {
    this.events.push(event);
  }
  changed(status: GatewayStatus): void {
    this.statuses.push(status);
  }
  /** The ids of what it was given. */
  get ids() {
    return this.inbounds.map(({ event_id: id }) => id);
  }
}

interface Started {
  gateway: RunningGateway;
  host: Host;
  logged: { level: string; fields: object; text: string }[];
  /** Waits for a state. */
  in: (state: GatewayState) => Promise<GatewayStatus>;
}

function start(
  behaviour: string,
  options: {
    argument?: string;
    spec?: Partial<GatewaySpec>;
    limits?: Partial<GatewayProcessLimits>;
    runner?: Partial<ProcessGatewayOptions>;
    host?: Host;
  } = {},
): Started {
  const host = options.host ?? new Host();
  const logged: Started['logged'] = [];
  const say = (level: string) => (fields: object, text: string) =>
    void logged.push({ level, fields, text });
  const runner = processGateways({
    clock: systemClock,
    log: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
    baseEnv: { PATH: '/usr/bin:/bin' },
    nodePath: process.execPath,
    binDirs: [],
    isRefusedVariable: refusedVariable,
    limits: { ...quick, ...options.limits },
    ...options.runner,
  });
  const gateway = runner.run(
    {
      name: 'scripted',
      command: process.execPath,
      args: [script, behaviour, options.argument ?? ''],
      env: {},
      config: {},
      restart: 'on_failure',
      ...options.spec,
    },
    host,
  );
  running.push(gateway);
  return {
    gateway,
    host,
    logged,
    in: (state) =>
      until(`${behaviour} is ${state}`, () => gateway.status.state === state).then(
        () => gateway.status,
      ),
  };
}

const { signal } = new AbortController();
let requests = 0;
function message(content = 'hello'): CommandOf<'send_message'> {
  requests += 1;
  return {
    type: 'send_message',
    request_id: `r${requests}`,
    chat_id: 'c',
    content,
    format: 'text',
    part: 1,
    parts: 1,
  };
}
const typing: CommandOf<'send_typing'> = { type: 'send_typing', chat_id: 'c', duration: 1000 };

/** Whether a process runs; one that was killed and not yet waited for does not. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return !existsSync('/proc/self');
  }
}
/** The numbers behind `pids` in a log. */
function pidsIn(log: readonly string[]): number[] {
  const line = log.find((one) => one.startsWith('pids '));
  return (line ?? '').split(' ').slice(1).map(Number);
}
/** Ids of the processes whose command line has a mark of this test. */
async function processesWith(mark: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(mark)) found.push(pid);
  }
  return found;
}

describe('a gateway that keeps the rules', () => {
  test('is ready, answers, and takes what needs no answer', async () => {
    const { gateway, host, in: reach } = start('good');
    const status = await reach('ready');
    expect(status).toMatchObject({ reason: null, restarts: 0, dropped: 0, unknown: 0 });
    expect(status.ready).toMatchObject({ gateway: 'scripted', protocol: 'v1' });
    expect(isAlive(status.pid!)).toBe(true);
    expect(host.statuses.at(-1)).toEqual(status);
    const outcome = await gateway.request(message(), { timeoutMs: 5000, signal });
    expect(outcome).toMatchObject({ type: 'answered', answer: { message_id: 'm1' } });
    expect(gateway.notify(typing)).toBe(true);
    await until('it took it', () => gateway.log.includes('typing in c'));
  });

  test('is asked to shut down when it is stopped, and nothing of it is left', async () => {
    const { gateway, in: reach } = start('good');
    const { pid } = await reach('ready');
    await gateway.stop();
    expect(gateway.log).toContain('shutdown within 400');
    expect(isAlive(pid!)).toBe(false);
    expect(gateway.status).toMatchObject({ state: 'stopped', pid: null });
    expect(await gateway.request(message(), { timeoutMs: 100, signal })).toMatchObject({
      type: 'unsent',
    });
    expect(gateway.notify(typing)).toBe(false);
  });

  test('is told which events are durable, when they are', async () => {
    const host = new Host();
    const stored = Promise.withResolvers<void>();
    const states: unknown[] = [];
    host.store = () => {
      states.push(host.statuses.at(-1)?.state);
      return stored.promise;
    };
    const { gateway } = start('next', { host });
    await until('both came', () => host.ids.length === 2);
    expect(states).toEqual(['ready', 'ready']);
    expect(gateway.log).toEqual([]);
    stored.resolve();
    await until('it was told', () => gateway.log.includes('acked e1,e2'));
  });

  test('of v1alpha1 works, without acks', async () => {
    const { gateway, host } = start('v1alpha1', { limits: { pingEveryMs: 50 } });
    await until(
      'it was pinged',
      () => gateway.log.filter((line) => line === 'got ping').length > 2,
    );
    expect(host.inbounds).toHaveLength(1);
    expect(gateway.log).not.toContain('got ack');
    expect(gateway.status).toMatchObject({ state: 'ready', restarts: 0 });
  });

  test('has an environment from a list, and its own', async () => {
    const base = { PATH: '/usr/bin:/bin', HOME: '/home/x', LANG: 'C', TZ: 'UTC', TMPDIR: '/tmp' };
    const { gateway, in: reach } = start('environment', {
      runner: { baseEnv: { ...base, ANTHROPIC_API_KEY: 'canary', OTHER_TOKEN: 'canary' } },
      spec: { env: { BOT: 'mine' } },
    });
    await reach('ready');
    const seen: unknown = JSON.parse(gateway.log[0]!);
    expect(seen).toEqual({
      ...base,
      BOT: 'mine',
      PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin`,
    });
  });

  test('is found on PATH, then in the folders of packages', async () => {
    const command = path.join(dir, 'my-gateway');
    await writeFile(command, `#!/bin/sh\nexec node ${script} good\n`);
    await chmod(command, 0o755);
    const spec = { command: 'my-gateway', args: [] };
    const onPath = start('good', { spec, runner: { baseEnv: { PATH: `relative:${dir}` } } });
    const inBin = start('good', { spec, runner: { binDirs: ['/nowhere', dir] } });
    await onPath.in('ready');
    await inBin.in('ready');
  });
});

describe('what does not go away by itself', () => {
  test('another version is fatal, and probed again', async () => {
    const { gateway, in: reach } = start('v2', { limits: { probeMs: 200 } });
    const status = await reach('fatal');
    expect(status.reason).toMatch(/v2.*v1/);
    await until('it was probed', () => gateway.status.restarts >= 1);
  });

  test('a refused token is fatal, with its reason and without the token', async () => {
    const token = '123456:CANARY-token';
    const {
      gateway,
      host,
      logged,
      in: reach,
    } = start('unauthorized', {
      spec: { config: { token } },
    });
    const status = await reach('fatal');
    expect(status.reason).toBe('cannot go on: unauthorized: 401 for [redacted]');
    expect(gateway.log).toContain('GET /bot[redacted]/getMe');
    expect(JSON.stringify([logged, host.statuses, host.events, gateway.log])).not.toContain(token);
    expect(host.events).toMatchObject([{ type: 'error', code: 'unauthorized' }]);
  });

  test('a conflict is fatal, also when it was not called so', async () => {
    const { in: reach } = start('conflict');
    expect((await reach('fatal')).reason).toContain('another process polls');
  });

  test.each([
    ['a command that is nowhere', { command: 'no-such-gateway' }, 'no-such-gateway'],
    ['a file that is nowhere', { command: '/no/such/gateway' }, '/no/such/gateway'],
    ['a file that may not be run', { command: script }, 'chmod'],
    ['a folder', { command: '/tmp' }, 'no file'],
    ['a refused variable', { env: { NODE_OPTIONS: '--require=x' } }, 'remove it'],
    ['an argument that no program can get', { args: ['a\0b'] }, 'null bytes'],
  ] as const)('%s is fatal', async (_, spec, why) => {
    const { gateway, in: reach } = start('good', { spec });
    expect((await reach('fatal')).reason).toContain(why);
    expect(gateway.status.pid).toBeNull();
  });

  test('a script whose interpreter is missing is fatal', async () => {
    const command = path.join(dir, 'script');
    await writeFile(command, '#!/no/such/interpreter\n');
    await chmod(command, 0o755);
    const { in: reach } = start('good', { spec: { command } });
    expect((await reach('fatal')).reason).toContain('ENOENT');
  });
});

describe('a gateway that fails', () => {
  test('is replaced when it is not ready in time', async () => {
    const { gateway, host } = start('not-ready', { limits: { readyMs: 300 } });
    await until('it was replaced', () => gateway.status.restarts >= 1);
    const status = host.statuses.find(({ state }) => state === 'backoff');
    expect(status?.reason).toContain('ready');
  });

  test('that crashes again and again is degraded, and says why', async () => {
    const { gateway, in: reach } = start('crash-at-start', { limits: { maxRestarts: 5 } });
    const status = await reach('degraded');
    expect(status.restarts).toBe(5);
    expect(status.reason).toBe('ended with exit code 9 before it was ready');
    expect(gateway.status.pid).toBeNull();
  });

  test('that works long enough between its crashes is never degraded', async () => {
    // The first ping comes so long after `ready`, however busy the machine is.
    const { gateway, host } = start('exits-at-ping', {
      limits: { maxRestarts: 1, healthyMs: 25, pingEveryMs: 50 },
    });
    await until('it was restarted', () => gateway.status.restarts >= 3);
    expect(host.statuses.map(({ state }) => state)).not.toContain('degraded');
  });

  test('has its last words in the reason', async () => {
    const { host } = start('last-words', { argument: '4' });
    const reason = 'ended with exit code 4: cannot find my file';
    await until('it said so', () => host.statuses.some((status) => status.reason === reason));
  });

  test('has what it said was wrong in the reason', async () => {
    const { host } = start('says-why');
    const reason =
      'ended by itself: failed, and ended with exit code 1: the platform cannot be reached';
    await until('it said so', () => host.statuses.some((status) => status.reason === reason));
  });

  test('that closes its stdin is replaced', async () => {
    const { gateway, host } = start('closes-stdin', { limits: { pingEveryMs: 50 } });
    await until('it was replaced', () => gateway.status.restarts >= 1);
    expect(host.statuses.map(({ reason }) => reason)).toContain('closed its stdin');
  });

  test('that closes its stdout is replaced', async () => {
    const { gateway, host } = start('closes-stdout');
    await until('it was replaced', () => gateway.status.restarts >= 1);
    expect(host.statuses.map(({ reason }) => reason)).toContain('closed its stdout');
  });

  test('that does not answer two pings is replaced', async () => {
    const {
      gateway,
      host,
      in: reach,
    } = start('ignores-pings', {
      limits: { pingEveryMs: 50, pingAnswerMs: 50 },
    });
    const { pid } = await reach('ready');
    await until('it was replaced', () => gateway.status.restarts >= 1);
    expect(isAlive(pid!)).toBe(false);
    expect(host.statuses.map(({ reason }) => reason)).toContain('did not answer two pings');
  });

  test('that hangs is replaced', async () => {
    const { gateway, in: reach } = start('good', {
      limits: { pingEveryMs: 50, pingAnswerMs: 500 },
    });
    const { pid } = await reach('ready');
    process.kill(pid!, 'SIGSTOP');
    await until('it was replaced', () => gateway.status.restarts === 1);
    expect(isAlive(pid!)).toBe(false);
    await reach('ready');
  });

  test('is replaced within 35 s when it hangs, by the numbers', () => {
    const { pingEveryMs, pingAnswerMs, endMs, termMs, backoffMs } = defaultLimits;
    expect(pingEveryMs + 2 * pingAnswerMs + endMs + termMs + backoffMs).toBeLessThan(35_000);
  });

  test('that does not reach its platform for too long is replaced', async () => {
    const { gateway, host } = start('disconnected', {
      limits: { pingEveryMs: 20, disconnectedMs: 200 },
    });
    await until('it was replaced', () => gateway.status.restarts >= 1);
    expect(host.statuses.map(({ reason }) => reason)).toContain(
      'did not reach its platform for 0.2 s',
    );
  });

  test('that does not read is replaced, and what needs no answer is dropped before', async () => {
    const { gateway, host, in: reach } = start('deaf');
    await reach('ready');
    const asks = Array.from({ length: 1000 }, () => gateway.notify(typing));
    expect(asks).toContain(false);
    expect(gateway.status.state).toBe('ready');
    const long = 'x'.repeat(60_000);
    await until('it was given up', () => {
      void gateway.request(message(long), { timeoutMs: 5000, signal });
      return gateway.status.state !== 'ready';
    });
    expect(host.statuses.some(({ reason }) => reason?.includes('does not read'))).toBe(true);
    await until('it was replaced', () => gateway.status.restarts === 1);
  });

  test('with more than 20 lines that are no events is replaced, with 20 it is not', async () => {
    const bad = start('invalid', { argument: '21' });
    await until('it was replaced', () => bad.gateway.status.restarts >= 1);
    const good = start('invalid', { argument: '20' });
    await until('its event came', () => good.host.ids.length === 1);
    expect(good.gateway.status).toMatchObject({ state: 'ready', dropped: 20, restarts: 0 });
    const reports = good.logged.filter(({ text }) => text === 'gateway line dropped');
    expect(reports).toHaveLength(1);
  });

  test('whose event cannot be stored is replaced without an ack, and begins where it was', async () => {
    const host = new Host();
    let refusals = 0;
    host.store = (event) => {
      if (event.event_id === 'e2' && refusals === 0) {
        refusals += 1;
        return Promise.reject(new Error('the disk is full'));
      }
      host.cursor = event.cursor;
      return Promise.resolve();
    };
    const { gateway, logged } = start('next', { host });
    await until('it was given again', () => gateway.status.restarts === 1 && host.ids.length >= 3);
    expect(host.ids.slice(0, 3)).toEqual(['e1', 'e2', 'e2']);
    expect(logged.filter(({ text }) => text.includes('not stored'))).toHaveLength(1);
    await until('the second time it was told', () =>
      gateway.log.some((l) => l.startsWith('acked e2')),
    );
  });
});

test('after an event that could not be stored no more are taken from that process', async () => {
  const host = new Host();
  let refusals = 0;
  host.store = async ({ event_id: id }) => {
    if (id !== 'e5' || refusals > 0) return;
    refusals += 1;
    throw new Error('the disk is full');
  };
  start('flood', { argument: '1000', host, limits: { maxPendingEvents: 10 } });
  await until('it was started anew', () => host.ids.lastIndexOf('e0') > 0);
  expect(host.ids.lastIndexOf('e0')).toBeLessThan(50);
});

describe('lines that are none', () => {
  test('are dropped and counted, and every event between them is taken', async () => {
    const { gateway, host, in: reach } = start('rubbish', { spec: { restart: 'never' } });
    await reach('stopped');
    expect(host.ids).toEqual(['e1', 'e2', 'e3', 'e5']);
    // Two too deep, one broken, five that are no events, a message without text, half a line.
    expect(gateway.status.dropped).toBe(10);
    // A type from the future, and a pong that nobody asked for.
    expect(gateway.status.unknown).toBe(2);
    expect(gateway.log.some((line) => line.includes('plain text, \uFFFD[31mred'))).toBe(true);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(host.inbounds[2]).not.toHaveProperty('polluted');
  });

  test('that are text go to its log: the newest 500, each cut, without control characters', async () => {
    const { gateway, host, logged } = start('chatty');
    await until('its event came', () => host.ids.length === 1);
    await until('its log came', () => gateway.log.includes('that is all'));
    expect(gateway.log).toHaveLength(500);
    const long = gateway.log.find((line) => line.includes('ä'));
    expect(long).toMatch(/^\uFFFD\[2Jä+$/);
    expect(Buffer.byteLength(long!)).toBeLessThanOrEqual(2048);
    expect(gateway.status).toMatchObject({ state: 'ready', dropped: 0 });
    expect(logged.filter(({ level }) => level === 'debug').length).toBeLessThanOrEqual(20);
  });

  test('hold no secret wherever they go', async () => {
    const token = '123456:CANARY-token';
    const { gateway, host, logged, in: reach } = start('secrets', { spec: { config: { token } } });
    await reach('ready');
    await until('the error came', () => host.events.length === 1);
    const outcome = await gateway.request(message(), { timeoutMs: 5000, signal });
    expect(outcome).toMatchObject({ answer: { message: 'it is [redacted]' } });
    await until('it was replaced', () => gateway.status.restarts === 1);
    expect(gateway.log.filter((line) => line === 'it is [redacted]').length).toBeGreaterThan(1);
    const all = JSON.stringify([logged, host.statuses, host.events, gateway.log, outcome]);
    expect(all).not.toContain(token.slice(0, 8));
  });
});

describe('a flood', () => {
  test('is read no faster than it becomes durable, and all of it is', async () => {
    const host = new Host();
    let pending = 0;
    let most = 0;
    host.store = async () => {
      pending += 1;
      most = Math.max(most, pending);
      await new Promise(setImmediate);
      pending -= 1;
    };
    const { gateway } = start('flood', { argument: '20000', host });
    await until('all came', () => host.ids.length === 20_000);
    expect(host.ids).toEqual(Array.from({ length: 20_000 }, (_, n) => `e${n}`));
    expect(most).toBeLessThanOrEqual(256);
    expect(gateway.status).toMatchObject({ state: 'ready', restarts: 0, dropped: 0 });
  });

  test('lets everything else have its turn every few lines', async () => {
    const { gateway, host } = start('unasked', { argument: '20000' });
    let before = 0;
    let most = 0;
    const look = (): void => {
      const { unknown } = gateway.status;
      most = Math.max(most, unknown - before);
      before = unknown;
      if (host.ids.length === 0) setImmediate(look);
    };
    look();
    await until('all of it came', () => before === 20_000);
    expect(most).toBeLessThanOrEqual(64);
  });

  test('that is not stored is not read, and is not taken for a hang', async () => {
    const host = new Host();
    const stored = Promise.withResolvers<void>();
    host.store = () => stored.promise;
    const { gateway } = start('flood', {
      argument: '5000',
      host,
      limits: { pingEveryMs: 20, pingAnswerMs: 100 },
    });
    await until('it is full', () => host.ids.length === defaultLimits.maxPendingEvents);
    const since = performance.now();
    await until('some pings later', () => performance.now() - since > 500);
    expect(host.ids).toHaveLength(defaultLimits.maxPendingEvents);
    expect(gateway.status).toMatchObject({ state: 'ready', restarts: 0 });
    stored.resolve();
    // Where pings are late now, on a busy machine, it is started again and says all of it again.
    await until('all came', () => new Set(host.ids).size === 5000);
  });

  test('before an exit is taken to its last line', async () => {
    const host = new Host();
    // Most of it is read when the process is gone already.
    host.store = () => delay(10);
    const { in: reach } = start('write-and-exit', { host, limits: { maxPendingEvents: 20 } });
    expect((await reach('stopped')).reason).toBe('ended with exit code 0');
    expect(host.ids).toEqual(Array.from({ length: 250 }, (_, n) => `e${n}`));
  });

  test('that is not stored does not keep a gateway from being stopped', async () => {
    const host = new Host();
    host.store = () => new Promise(() => undefined);
    const { gateway } = start('flood', { argument: '5000', host });
    await until('it is full', () => host.ids.length === defaultLimits.maxPendingEvents);
    await gateway.stop();
    expect(gateway.status).toMatchObject({ state: 'stopped', pid: null });
  });
});

describe('a request', () => {
  const ask = { timeoutMs: 300, signal };

  test('before ready is not sent', async () => {
    const { gateway } = start('not-ready');
    expect(await gateway.request(message(), ask)).toMatchObject({ type: 'unsent' });
    await until('it runs', () => gateway.status.pid);
    expect(await gateway.request(message(), ask)).toMatchObject({ type: 'unsent' });
  });

  test('that is answered twice is answered once', async () => {
    const { gateway, in: reach } = start('answers', { argument: 'twice' });
    await reach('ready');
    const outcome = await gateway.request(message(), { timeoutMs: 5000, signal });
    expect(outcome).toMatchObject({ type: 'answered', answer: { message_id: 'first' } });
    await until('the second was counted', () => gateway.status.unknown === 1);
  });

  test.each(['never', 'other'])('that is answered %s is lost', async (argument) => {
    const { gateway, in: reach } = start('answers', { argument });
    await reach('ready');
    expect(await gateway.request(message(), ask)).toMatchObject({ type: 'lost' });
    expect(gateway.status).toMatchObject({
      state: 'ready',
      unknown: argument === 'other' ? 1 : 0,
    });
  });

  test('whose gateway ends is lost, and says how it ended', async () => {
    const { gateway, in: reach } = start('answers', { argument: 'exit' });
    await reach('ready');
    const outcome = await gateway.request(message(), { timeoutMs: 5000, signal });
    expect(outcome).toEqual({ type: 'lost', reason: 'the gateway ended with exit code 7' });
  });

  test('that is longer than a line may be is not sent', async () => {
    const { gateway, in: reach } = start('good');
    await reach('ready');
    const outcome = await gateway.request(message('x'.repeat(2 ** 20)), ask);
    expect(outcome).toMatchObject({ type: 'unsent' });
    expect(gateway.status.state).toBe('ready');
  });

  test('leaves room for pings however many there are', async () => {
    const { gateway, in: reach } = start('answers', { argument: 'never' });
    await reach('ready');
    const outcomes = await Promise.all(
      Array.from({ length: 256 }, () => gateway.request(message(), ask)),
    );
    expect(outcomes.filter(({ type }) => type === 'unsent')).toHaveLength(1);
  });
});

describe('restarts', () => {
  test.each([
    ['always', 'exits', '0', 'goes on'],
    ['always', 'says-goodbye', '0', 'goes on'],
    ['on_failure', 'exits', '1', 'goes on'],
    ['on_failure', 'says-goodbye', '1', 'goes on'],
    ['on_failure', 'crash-at-start', '', 'goes on'],
    ['on_failure', 'exits', '0', 'is left'],
    ['on_failure', 'says-goodbye', '0', 'is left'],
    ['never', 'exits', '1', 'is left'],
    ['never', 'v2', '', 'is left'],
  ] as const)('%s: a gateway that %s %s %s', async (restart, behaviour, argument, then) => {
    const { gateway, in: reach } = start(behaviour, { argument, spec: { restart } });
    if (then === 'goes on') {
      await until('it was restarted', () => gateway.status.restarts >= 2);
    } else {
      expect((await reach('stopped')).reason).not.toBeNull();
      expect(gateway.status).toMatchObject({ restarts: 0, pid: null });
    }
  });

  test('by hand replace the process, once for all who ask at once', async () => {
    const { gateway, in: reach } = start('good');
    const { pid } = await reach('ready');
    await Promise.all([gateway.restart(), gateway.restart(), gateway.restart()]);
    expect(isAlive(pid!)).toBe(false);
    const status = await reach('ready');
    expect(status.restarts).toBe(1);
    expect(status.pid).not.toBe(pid);
  });

  test.each([
    ['backoff', 'crash-at-start', { backoffMs: 60_000, maxBackoffMs: 60_000 }],
    ['degraded', 'crash-at-start', { maxRestarts: 0 }],
    ['fatal', 'v2', {}],
    ['stopped', 'exits', {}],
  ] as const)('by hand work where it is %s', async (state, behaviour, limits) => {
    const { gateway, in: reach } = start(behaviour, {
      argument: '0',
      limits,
      runner: { random: () => 1 },
    });
    await reach(state);
    await gateway.restart();
    expect(gateway.status.restarts).toBe(1);
    await reach(state);
  });

  test('by hand work while it starts, and when its command is missing', async () => {
    const { gateway, in: reach } = start('good');
    await gateway.restart();
    await reach('ready');
    const missing = start('good', { spec: { command: 'no-such-gateway' } });
    await missing.gateway.restart();
    await missing.in('fatal');
    await missing.gateway.restart();
    expect(missing.gateway.status.restarts).toBe(1);
  });

  test('never run two processes at once', async () => {
    const mark = `once-${path.basename(dir)}`;
    const { gateway, in: reach } = start('good', { argument: mark });
    let most = 0;
    for (let i = 0; i < 5; i += 1) {
      const restarted = gateway.restart();
      void gateway.restart();
      await restarted;
      most = Math.max(most, (await processesWith(mark)).length);
    }
    await reach('ready');
    expect(most).toBeLessThanOrEqual(1);
    expect(await processesWith(mark)).toHaveLength(1);
    expect(gateway.status.restarts).toBeGreaterThanOrEqual(4);
  });

  test('have an end when it is stopped, whatever it is about to do', async () => {
    const mark = `ends-${path.basename(dir)}`;
    const starting = start('good', { argument: mark });
    await starting.gateway.stop();
    const shaking = start('not-ready', { argument: mark });
    await until('it runs', () => shaking.gateway.status.pid);
    await shaking.gateway.stop();
    const pausing = start('crash-at-start', {
      argument: mark,
      limits: { backoffMs: 200, maxBackoffMs: 200 },
    });
    await pausing.in('backoff');
    await pausing.gateway.stop();
    const restarting = start('good', { argument: mark });
    await restarting.in('ready');
    const restarted = restarting.gateway.restart();
    await restarting.gateway.stop();
    await restarted;
    for (const { gateway } of [starting, shaking, pausing, restarting]) {
      expect(gateway.status).toMatchObject({ state: 'stopped', pid: null });
      await gateway.restart();
      await gateway.stop();
    }
    expect(await processesWith(mark)).toEqual([]);
  });
});

describe('what will not end', () => {
  test('is killed with all its children', async () => {
    const { gateway, in: reach } = start('stubborn');
    await reach('ready');
    await until('it said so', () => pidsIn(gateway.log).length === 2);
    const pids = pidsIn(gateway.log);
    strays.push(...pids);
    expect(pids.every(isAlive)).toBe(true);
    await gateway.stop();
    await until('they are gone', () => !pids.some(isAlive));
  });

  test.each(['alone', 'also where its end has begun'])(
    'is killed as soon as whoever stops it wants, %s',
    async (how) => {
      const patient = { endMs: 600_000, termMs: 600_000 };
      const { gateway, in: reach } = start('stubborn', { limits: patient });
      await reach('ready');
      await until('it said so', () => pidsIn(gateway.log).length === 2);
      const pids = pidsIn(gateway.log);
      strays.push(...pids);
      if (how !== 'alone') void gateway.restart();
      await gateway.stop({ withinMs: 100 });
      await until('they are gone', () => !pids.some(isAlive));
    },
  );

  test('but has left its pipes to another does not hold the gateway up', async () => {
    const { gateway, host } = start('leaves-pipe-open');
    await until('it was replaced', () => gateway.status.restarts >= 1);
    expect(host.ids[0]).toBe('e1');
    await gateway.stop();
    for (const line of gateway.log) {
      if (line.startsWith('pids ')) process.kill(Number(line.slice(5)), 'SIGKILL');
    }
  });
});

describe('a server of its own', () => {
  interface Report {
    state?: GatewayState;
    pid?: number;
    events?: number;
    dropped?: number;
    grownMiB?: number;
    log?: string[];
  }

  function serve(...args: string[]): { server: ChildProcess; reports: Report[] } {
    const server = spawn(
      process.execPath,
      [
        '--conditions=@duragent/source',
        // A young heap of one size: else what is measured is how far V8 has let it grow.
        '--max-semi-space-size=8',
        serverScript,
        script,
        ...args,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    servers.push(server);
    const reports: Report[] = [];
    let rest = '';
    server.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      reports.push(...lines.map((line) => JSON.parse(line) as Report));
    });
    return { server, reports };
  }

  /** Asks for its numbers until they are right. */
  async function askUntil(
    what: string,
    { server, reports }: { server: ChildProcess; reports: Report[] },
    isRight: (report: Report) => boolean,
  ): Promise<Report> {
    let report: Report = {};
    await until(what, async () => {
      const before = reports.length;
      server.stdin!.write('?\n');
      await until('it answers', () => reports.length > before);
      report = reports.at(-1)!;
      return isRight(report);
    });
    return report;
  }

  test('that is killed leaves no gateway, not even one that will not end', async () => {
    const { server, reports } = serve('stubborn');
    await until('it is ready', () => reports.some(({ state }) => state === 'ready'));
    const { log } = await askUntil('pids', { server, reports }, (r) => r.log?.length === 1);
    const pids = pidsIn(log!);
    strays.push(...pids);
    expect(pids).toHaveLength(2);
    expect(pids.every(isAlive)).toBe(true);
    server.kill('SIGKILL');
    await until('they are gone', () => !pids.some(isAlive), 5000);
  });

  test.each([
    ['200 MB without a line end on stdout', 'long-line', '1:200', '', 1],
    ['200 MB without a line end on stderr', 'long-line', '2:200', '', 1],
    ['100,000 events', 'flood', '100000', '', 100_000],
    [
      '100,000 events that are never stored',
      'flood',
      '100000',
      'never',
      defaultLimits.maxPendingEvents,
    ],
  ])('grows by at most 32 MiB from %s', async (_, behaviour, argument, inbound, events) => {
    const run = serve(behaviour, argument, inbound);
    const report = await askUntil('all came', run, (r) => r.events === events);
    expect(report.grownMiB).toBeLessThanOrEqual(32);
  });
});
