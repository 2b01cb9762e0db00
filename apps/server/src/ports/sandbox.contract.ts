import { spawn, type StdioOptions } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../../../test/support/until.ts';
import type { CommandOutput, RunOutcome, Sandbox, SandboxCommand } from './sandbox.ts';

/** A sandbox of one level over a workspace that the test may fill. */
export interface SandboxHarness {
  sandbox: Sandbox;
  workspace: string;
  /** A folder that commands do not see. */
  elsewhere: string;
  dispose(): Promise<void>;
}

/** The server's environment in these tests; little of it may reach a command. */
export const SERVER_ENVIRONMENT = {
  PATH: `relative:${process.env['PATH'] ?? ''}::.`,
  HOME: '/nonexistent',
  LANG: 'C.UTF-8',
  ANTHROPIC_API_KEY: 'canary-model-key',
  DURAGENT_API_TOKEN: 'canary-token',
  NODE_OPTIONS: '--no-warnings',
};

let count = 0;

/** A number of seconds that no other process of the machine sleeps. */
export function uniqueSleep(): string {
  count += 1;
  return `7${process.pid}${String(count).padStart(4, '0')}`;
}

/** The processes of this machine that have a text among their arguments. */
export function processesWith(argument: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(argument);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** What every `Sandbox` promises. */
export function sandboxContract(name: string, makeHarness: () => Promise<SandboxHarness>): void {
  describe(name, () => {
    let harness: SandboxHarness;
    beforeAll(async () => {
      harness = await makeHarness();
      return () => harness.dispose();
    });
    const pids: number[] = [];
    afterEach(() => {
      for (const pid of pids.splice(0)) {
        try {
          process.kill(-pid, 'SIGKILL');
        } catch {
          // It has ended.
        }
      }
    });

    function run(
      command: string | readonly string[],
      more: Partial<SandboxCommand> = {},
      options: Partial<Parameters<Sandbox['run']>[1]> = {},
    ): Promise<RunOutcome> {
      const argv = typeof command === 'string' ? ['bash', '-c', command] : command;
      const { signal = new AbortController().signal, onOutput } = options;
      const base = { cwd: harness.workspace, env: {}, network: 'all' as const, timeoutMs: 20_000 };
      return harness.sandbox.run(
        { argv, ...base, ...more },
        { signal, ...(onOutput === undefined ? {} : { onOutput }) },
      );
    }

    test('runs an argument list without a shell', async () => {
      const outcome = await run(['printf', '%s|', '$HOME', 'a b', '*', "'", '']);
      expect(outcome).toMatchObject({ end: 'exited', exitCode: 0, signal: null });
      expect(ran(outcome)).toEqual(whole("$HOME|a b|*|'||"));
    });

    test('runs it in the folder that was named', async () => {
      await mkdir(path.join(harness.workspace, 'deep'), { recursive: true });
      const cwd = path.join(harness.workspace, 'deep');
      expect(ran(await run('pwd; echo made > here', { cwd })).head).toBe(`${cwd}\n`);
      expect(await readFile(path.join(cwd, 'here'), 'utf8')).toBe('made\n');
    });

    test('gives stdout and stderr in the order of writing', async () => {
      const lines = Array.from({ length: 50 }, (_, i) => `${i}\n`);
      const command = 'for i in {0..24}; do echo $((2*i)); echo $((2*i+1)) >&2; done';
      expect(ran(await run(command)).head).toBe(lines.join(''));
    });

    test('gives the exit code, and that of a signal', async () => {
      expect(await run('exit 3')).toMatchObject({ end: 'exited', exitCode: 3, signal: null });
      const killed = await run('kill -9 $$');
      expect([137, 'SIGKILL']).toContain(
        killed.end === 'exited' ? (killed.exitCode ?? killed.signal) : killed,
      );
    });

    test.each([
      [['no-such-program'], 'no-such-program'],
      [['./no-such-file'], './no-such-file'],
      [[], 'no program'],
      [[''], 'no program'],
      [['--help'], '--help'],
      [['echo', 'a\0b'], 'null character'],
      [['echo', 'x'.repeat(200_000)], 'longer than'],
    ])('says why it does not start %j', async (argv, why) => {
      const outcome = await run(argv.map((one) => one));
      expect(outcome).toEqual({ end: 'not_started', reason: expect.stringContaining(why) });
    });

    test('says so when a folder is not there', async () => {
      const cwd = path.join(harness.workspace, 'missing');
      expect(await run('pwd', { cwd })).toMatchObject({ end: 'not_started' });
    });

    test('says so when all arguments together are too long', async () => {
      const outcome = await run(['echo', ...Array<string>(100).fill('x'.repeat(100_000))]);
      expect(outcome).toMatchObject({ end: 'not_started' });
    });

    test('does not take what a program says for why it did not start', async () => {
      const outcome = await run('echo "bwrap: no" >&2; exit 127');
      expect(outcome).toMatchObject({ end: 'exited', exitCode: 127 });
    });

    test('gives a program its input, and an empty one where there is none', async () => {
      const stdin = 'ä\n'.repeat(100_000);
      expect(ran(await run(['wc', '-c'], { stdin })).head.trim()).toBe('300000');
      expect(ran(await run(['cat'])).bytes).toBe(0);
    });

    test('does not mind a program that reads nothing of a long input', async () => {
      const outcome = await run(['true'], { stdin: new Uint8Array(8_000_000) });
      expect(outcome).toMatchObject({ end: 'exited', exitCode: 0 });
    });

    test('lets programs open their output by name', async () => {
      const outcome = await run('echo a > /dev/stdout; echo b > /dev/stderr; cat < /dev/stdin');
      expect(outcome).toMatchObject({ exitCode: 0, output: { head: 'a\nb\n' } });
    });

    test('gives an environment from a list, and the changes', async () => {
      const outcome = await run(['env'], { env: { DURAGENT_ARG_A: 'b c', LANG: 'C' } });
      const lines = ran(outcome).head.split('\n');
      expect(lines).toContain('DURAGENT_ARG_A=b c');
      expect(lines).toContain('LANG=C');
      expect(lines).toContain('TERM=dumb');
      const names = lines.filter((line) => line !== '').map((line) => line.split('=')[0]);
      const known = ['DURAGENT_ARG_A', 'HOME', 'LANG', 'PATH', 'TERM', 'TMPDIR', 'PWD', '_'];
      // Shells add a few.
      expect(names.filter((one) => !known.includes(one ?? ''))).toEqual([]);
      expect(lines.find((line) => line.startsWith('PATH='))).not.toMatch(/relative|::|\.$/);
    });

    test('refuses variables that change what programs load', async () => {
      const outcome = await run(['env'], { env: { LD_PRELOAD: 'x.so' } });
      expect(outcome).toMatchObject({ end: 'not_started', reason: expect.stringContaining('LD_') });
      expect(await run(['env'], { env: { A: 'b\0c' } })).toMatchObject({ end: 'not_started' });
    });

    test('shows output as it comes, never half a character', async () => {
      const seen: string[] = [];
      const go = path.join(harness.workspace, 'go');
      const running = run(
        `printf 'a\\xf0\\x9f'; until test -e go; do sleep 0.01; done; printf '\\xa7\\x80b'`,
        {},
        { onOutput: (text) => void seen.push(text) },
      );
      await until('the first piece', () => seen.length > 0);
      expect(seen.join('')).toBe('a');
      await writeFile(go, '');
      expect(ran(await running)).toEqual(whole('a🧀b'));
      expect(seen.join('')).toBe('a🧀b');
    });

    test('keeps the start and the end of a long output, and all of it in a file', async () => {
      const file = path.join(harness.elsewhere, 'new', 'folder', 'call.log');
      const outcome = await run('seq 1 50000', { keepBytes: 1000, outputFile: file });
      const output = ran(outcome);
      const all = Array.from({ length: 50_000 }, (_, i) => `${i + 1}\n`).join('');
      expect(output.head).toBe(all.slice(0, 500));
      expect(output.tail).toBe(all.slice(-500));
      expect(output).toMatchObject({ bytes: all.length, omittedBytes: all.length - 1000 });
      expect(output.file).toEqual({ path: file, bytes: all.length, fault: null });
      expect(await readFile(file, 'utf8')).toBe(all);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    });

    test('runs all the same where the file cannot be written', async () => {
      const outputFile = path.join(harness.elsewhere, 'a-file', 'call.log');
      await writeFile(path.join(harness.elsewhere, 'a-file'), '');
      const output = ran(await run('echo hello', { outputFile }));
      expect(output).toMatchObject({ head: 'hello\n', file: { bytes: 0 } });
      expect(output.file?.fault).toContain('EEXIST');
    });

    test('ends a flood at its timeout, with little of it in memory', async () => {
      const outcome = await run('yes', { timeoutMs: 700, keepBytes: 10_000 });
      expect(outcome.end).toBe('timed_out');
      const output = ran(outcome);
      expect(output.bytes).toBeGreaterThan(10_000);
      expect(output.head.length + output.tail.length).toBeLessThanOrEqual(10_000);
    });

    test('ends a command at its timeout, also one that hears no signal', async () => {
      const sleep = uniqueSleep();
      const outcome = await run(`trap '' TERM; echo started; sleep ${sleep} & sleep ${sleep}`, {
        timeoutMs: 300,
      });
      expect(outcome).toMatchObject({ end: 'timed_out', output: { head: 'started\n' } });
      expect(processesWith(sleep)).toEqual([]);
    });

    test('ends a command when it is cancelled, and lets it say good-bye', async () => {
      const sleep = uniqueSleep();
      const stop = new AbortController();
      const command = `trap 'echo bye; exit' TERM; echo started; sleep ${sleep} & wait`;
      const outcome = await run(
        command,
        {},
        {
          signal: stop.signal,
          onOutput: (text) => void (text.includes('started') && stop.abort()),
        },
      );
      expect(outcome).toMatchObject({ end: 'cancelled' });
      expect(ran(outcome).head).toContain('bye');
      expect(processesWith(sleep)).toEqual([]);
    });

    test('does not start what is cancelled already', async () => {
      const marker = path.join(harness.workspace, 'cancelled');
      const outcome = await run('echo > cancelled', {}, { signal: AbortSignal.abort() });
      expect(outcome).toMatchObject({ end: 'cancelled', output: { bytes: 0 } });
      await expect(stat(marker)).rejects.toThrow('ENOENT');
    });

    test('takes its listener off the signal again', async () => {
      const { signal } = new AbortController();
      let listeners = 0;
      const [add, remove] = [signal.addEventListener, signal.removeEventListener];
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners += 1;
        add.apply(signal, args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners -= 1;
        remove.apply(signal, args);
      };
      await run('true', {}, { signal });
      expect(listeners).toBe(0);
    });

    test('leaves no process of a command that has ended', async () => {
      const sleep = uniqueSleep();
      const quiet = '</dev/null >/dev/null 2>&1';
      const { endsAll } = await harness.sandbox.ready();
      const escape = endsAll ? 'setsid' : '';
      // Many take the kernel a while.
      const command = `for i in {1..60}; do ${escape} nohup sleep ${sleep} ${quiet} & done; sleep ${sleep} & echo done`;
      expect(ran(await run(command)).head).toContain('done');
      expect(processesWith(sleep)).toEqual([]);
    });

    test('waits for no process that a command leaves behind', async () => {
      const sleep = uniqueSleep();
      expect(ran(await run(`sleep ${sleep} & echo done`))).toEqual(whole('done\n'));
    });

    test('runs many at once', async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 12 }, (_, i) => run(`echo ${i}; echo ${i} >&2`)),
      );
      expect(outcomes.map((outcome) => ran(outcome).head)).toEqual(
        Array.from({ length: 12 }, (_, i) => `${i}\n${i}\n`),
      );
    });

    test('runs a script of the workspace by its path', async () => {
      const script = path.join(harness.workspace, 'script.sh');
      await writeFile(script, '#!/bin/sh\necho "it ran with $1"\n');
      await chmod(script, 0o755);
      expect(ran(await run(['./script.sh', 'one'])).head).toBe('it ran with one\n');
      expect(ran(await run([script, 'two'])).head).toBe('it ran with two\n');
    });

    describe('wrapping a program that lives longer', () => {
      async function start(argv: readonly string[], more: object = {}) {
        const place = { cwd: harness.workspace, env: { A: 'b' }, network: 'all' as const };
        const wrapped = await harness.sandbox.wrap(argv, { ...place, ...more });
        if ('fault' in wrapped) throw new Error(wrapped.fault);
        const { file, args, openGate, ...options } = wrapped;
        const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', 'pipe'];
        const child = spawn(file, args, { ...options, stdio, detached: true });
        openGate?.(child.stdio[3]);
        if (child.pid !== undefined) pids.push(child.pid);
        let output = '';
        let errors = '';
        child.stdout?.on('data', (chunk) => (output += String(chunk)));
        child.stderr?.on('data', (chunk) => (errors += String(chunk)));
        const exited = new Promise((resolve) => child.once('exit', resolve));
        return { child, exited, output: () => output, errors: () => errors };
      }

      test('lets it talk over its streams', async () => {
        const program = `echo "$A" >&2; while read -r line; do echo "got $line"; done`;
        const { child, exited, output, errors } = await start(['bash', '-c', program]);
        child.stdin?.write('one\n');
        await until('an answer', () => output() === 'got one\n');
        child.stdin?.end('two\n');
        await exited;
        await until('all of it', () => output() === 'got one\ngot two\n');
        expect(errors()).toBe('b\n');
      });

      test('ends it with all that it started', async () => {
        const sleep = uniqueSleep();
        const program = `trap 'echo bye' TERM; sleep ${sleep} & sleep ${sleep} & echo started; while :; do wait; sleep 0.05; done`;
        const { child, exited, output } = await start(['bash', '-c', program]);
        await until('it has started', () => output() === 'started\n');
        await until('its child runs', () => processesWith(sleep).length > 1);
        await harness.sandbox.end(child.pid ?? 0);
        await exited;
        await until('the end of all', () => processesWith(sleep).length === 0);
        expect(output()).toContain('bye');
      });

      test('says what is wrong', async () => {
        const place = { cwd: harness.workspace, env: { LD_PRELOAD: 'x' }, network: 'all' as const };
        expect(await harness.sandbox.wrap(['true'], place)).toEqual({ fault: expect.any(String) });
        expect(await harness.sandbox.wrap([], { ...place, env: {} })).toEqual({
          fault: expect.any(String),
        });
      });
    });
  });
}

/** What is known of a command that ran. */
export function ran(outcome: RunOutcome): CommandOutput {
  if (outcome.end === 'not_started') throw new Error(`not started: ${outcome.reason}`);
  return outcome.output;
}

function whole(text: string): CommandOutput {
  const bytes = Buffer.byteLength(text);
  return { head: text, tail: '', bytes, omittedBytes: 0, file: null };
}
