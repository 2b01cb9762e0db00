import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { needs } from '../../../../../test/support/needs.ts';
import { until } from '../../../../../test/support/until.ts';
import { openSandbox } from '../sandbox/open-sandbox.ts';
import { testFolder } from '../sandbox/testing.ts';
import type { Processes } from '../../ports/processes.ts';
import type { Sandbox } from '../../ports/sandbox.ts';
import { birthOf, isRunning } from './birth.ts';
import { systemProcesses } from './system.ts';

let base: string;
let sandbox: Sandbox;
let processes: Processes;
const children: ChildProcess[] = [];

async function open(folder: string): Promise<void> {
  base = folder;
  sandbox = await openSandbox({
    mode: 'trust',
    places: {
      workspace: base,
      dataDir: path.join(base, 'data'),
      homes: [],
      envFolders: [],
      hidden: [],
      readOnly: [],
      reserved: [],
    },
    baseEnv: { PATH: process.env['PATH'] },
    isRefusedVariable: () => false,
  });
  processes = systemProcesses({
    sandbox,
    directory: path.join(base, "it's #{pid} %H; processes"),
    searchPath: process.env['PATH'] ?? '',
  });
}

beforeEach(async () => open(await testFolder()));
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  processes.close();
  await sandbox[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const ID = 'proc_00000000000000000000000001';
const OTHER = 'proc_00000000000000000000000002';
const quiet = { onText: () => undefined };
const place = () => ({ cwd: base, env: {}, network: 'all' as const });

function sleeper(): { child: ChildProcess; pid: number } {
  const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  children.push(child);
  return { child, pid: child.pid ?? 0 };
}

describe('a process of an earlier server', () => {
  test('is ended if its number is still its own', async () => {
    const { child, pid } = sleeper();
    const exited = once(child, 'exit');
    await processes.endLeftover(pid, await birthOf(pid));
    await exited;
    expect(await isRunning(pid)).toBe(false);
  });

  test.each([['boot:1'], [null]])('is left alone if it was born otherwise (%s)', async (birth) => {
    const { pid } = sleeper();
    await processes.endLeftover(pid, birth);
    expect(await isRunning(pid)).toBe(true);
  });
});

test('two processes have two births, and one that is gone has none', async () => {
  const { child, pid } = sleeper();
  expect(await birthOf(pid)).toMatch(/^[0-9a-f-]{36}:\d+$/);
  expect(await birthOf(pid)).not.toBe(await birthOf(process.pid));
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  expect(await birthOf(pid)).toBeNull();
});

test('what the sandbox refuses is a fault, and nothing is left of it', async () => {
  const start = { id: ID, argv: ['echo', 'a\0'], ...place() };
  expect(await processes.start(start, quiet)).toEqual({ fault: expect.stringContaining('null') });
  expect(await processes.output(ID, { start: 0, bytes: 10 })).toMatchObject({ size: 0 });
});

test('without tmux there is no terminal, and what to do is said', async () => {
  const none = systemProcesses({ sandbox, directory: path.join(base, 'p'), searchPath: base });
  const start = { id: ID, argv: ['cat'], ...place() };
  expect(await none.openTerminal(start, quiet)).toEqual({
    fault: expect.stringContaining('apt install tmux'),
  });
  expect(await none.adoptTerminals(new Map())).toEqual(new Map());
});

describe.skipIf(!needs('tmux'))('terminals', () => {
  test('that nobody asks for are ended, others are taken over with what they printed meanwhile', async () => {
    const argv = ['bash', '-c', 'echo first; read x; echo second; sleep 600'];
    const pids: number[] = [];
    for (const id of [ID, OTHER]) {
      const started = await processes.openTerminal({ id, argv, ...place() }, quiet);
      if ('fault' in started) throw new Error(started.fault);
      pids.push(started.pid);
    }
    processes.close();

    await open(base);
    let shown = '';
    const onText = (text: string): void => void (shown += text);
    const adopted = await processes.adoptTerminals(new Map([[ID, { from: 0, onText }]]));
    expect([...adopted.keys()]).toEqual([ID]);
    const [first = 0, second = 0] = pids;
    expect(await isRunning(second)).toBe(false);
    const terminal = adopted.get(ID);
    expect(terminal?.pid).toBe(first);
    await until('it prints', () => shown.includes('first'));
    expect(await terminal?.send('', ['Enter'])).toBeNull();
    await until('it answers', () => shown.includes('second'));
    await terminal?.end();
    expect(await isRunning(first)).toBe(false);
    await terminal?.release();
    expect(await processes.screen(ID, 0)).toContain('second');
    expect(await processes.adoptTerminals(new Map())).toEqual(new Map());
  });

  test('take commands that tmux itself could not, and give them nothing of the server', async () => {
    const long = 'x'.repeat(30_000);
    const argv = ['bash', '-c', `env > seen; echo \${#1} "$2" > given; cat`, 'sh', long, `a'b;`];
    const started = await processes.openTerminal({ id: ID, argv, ...place() }, quiet);
    if ('fault' in started) throw new Error(started.fault);
    const given = () => readFile(path.join(base, 'given'), 'utf8');
    await until('it was given both', async () => (await given()) === `30000 a'b;\n`);
    const seen = await readFile(path.join(base, 'seen'), 'utf8');
    expect(seen).not.toMatch(/^TMUX/m);
    await started.end();
    await started.release();
  });
});
