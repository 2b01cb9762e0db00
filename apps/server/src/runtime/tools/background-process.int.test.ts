import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { needs } from '../../../../../test/support/needs.ts';
import { until } from '../../../../../test/support/until.ts';
import { Tmux } from '../../adapters/processes/tmux.ts';
import { isRunning } from '../../adapters/processes/birth.ts';
import { testFolder } from '../../adapters/sandbox/testing.ts';
import { processesWith, uniqueSleep } from '../../ports/sandbox.contract.ts';
import { callTool, openStage, spawnTool, type Stage } from './background-process-stage.testing.ts';

let base: string;
let stage: Stage;
const servers: ChildProcess[] = [];

function stagesOf(mode: 'trust' | 'bubblewrap'): void {
  beforeEach(async () => {
    base = await testFolder();
    stage = await openStage(base, mode);
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) server.kill('SIGKILL');
    await stage.all.endSession('session_1');
    await stage.all.endSession('session_2');
    await stage.all.close();
    await stage.sandbox[Symbol.asyncDispose]();
    await rm(base, { recursive: true, force: true });
  });
}

const call = (args: Record<string, unknown>, caller = stage.caller()): Promise<string> =>
  callTool(stage, args, caller);
const log = (id: string): Promise<string> => call({ action: 'log', id });
/** What it printed, without what is said of it. */
const printed = async (id: string): Promise<string> =>
  (await stage.processes.output(id, { start: 0, bytes: 100_000 })).text;
/** Not what starts it, which has the same argument. */
const isAsleep = (marker: string): boolean => processesWith(marker).length >= 3;
const recordOf = (id: string) => stage.all.find(stage.owner, id);
const over = (id: string, state: string): Promise<unknown> =>
  until(`${id} is ${state}`, () => recordOf(id)?.state === state);

/** A start of the server in the same folder, after the one before has ended. */
async function restart(mode: 'trust' | 'bubblewrap'): Promise<void> {
  await stage.sandbox[Symbol.asyncDispose]();
  stage = await openStage(base, mode);
}

describe('a plain process', () => {
  stagesOf('trust');

  test('goes on after its call, and its end wakes its session once with the end of its output', async () => {
    const id = await spawnTool(
      stage,
      'echo begun; read line; echo "got $line" >/dev/stderr; exit 3',
    );
    await until('it prints', async () => (await printed(id)).includes('begun'));
    expect(recordOf(id)).toMatchObject({ state: 'running', told: false });
    expect(await call({ action: 'write', id, text: 'hello\n' })).toContain('Written');
    await over(id, 'exited');
    const [wake] =
      (await until('it is told', async () => {
        const woken = await stage.woken();
        return woken.length > 0 ? woken : null;
      })) ?? [];
    expect(wake).toMatchObject({ session: 'session_1', identity: `${id}/end` });
    expect(wake?.text).toMatch(
      /^The background process proc_\w+ \(echo begun; .*\) ended after \d+ s, with exit code 3\.\nThe end of its output:\nbegun\ngot hello$/s,
    );
    await until('that is recorded', () => recordOf(id)?.told);
    expect(await call({ action: 'status', id })).toContain('ended after');
    await stage.all.close();
    await restart('trust');
    expect(await stage.woken()).toHaveLength(1);
    expect(recordOf(id)).toMatchObject({ state: 'exited', exit_code: 3, told: true });
  });

  test('is recorded before it runs, and nothing runs where that is not possible', async () => {
    await rm(stage.directory, { recursive: true, force: true });
    await writeFile(stage.directory, 'no folder');
    await expect(spawnTool(stage, 'touch ran')).rejects.toThrow(/error: Cannot keep the process/);
    expect(await readdir(stage.workspace)).toEqual([]);
  });

  test('that does not exist is said, and wakes nobody', async () => {
    const id = await spawnTool(stage, 'no-such-program');
    await over(id, 'exited');
    expect(await log(id)).toContain('there is no program "no-such-program"');
  });

  test('is ended with all that it started', async () => {
    const marker = uniqueSleep();
    const id = await spawnTool(stage, `setsid sleep ${marker} & sleep ${marker}`);
    await until('both run', () => processesWith(marker).length >= 2);
    expect(await call({ action: 'kill', id })).toContain('was ended');
    expect(processesWith(marker)).toEqual([]);
    expect(recordOf(id)).toMatchObject({ state: 'killed', told: true });
    expect(await stage.woken()).toEqual([]);
    await expect(call({ action: 'kill', id })).rejects.toThrow('does not run');
  });

  test('is asked to end first', async () => {
    const id = await spawnTool(
      stage,
      `trap 'echo bye; exit 0' TERM; echo set; while :; do sleep 0.05; done`,
    );
    await until('it is set', async () => (await printed(id)).includes('set'));
    await call({ action: 'kill', id });
    expect(await printed(id)).toMatch(/\nbye\n$/);
  });

  test('can have its input ended', async () => {
    const id = await spawnTool(stage, 'wc -c');
    await call({ action: 'write', id, text: 'four', end_input: true });
    await over(id, 'exited');
    expect(await log(id)).toMatch(/\n4\n$/);
    await expect(call({ action: 'write', id, text: 'x' })).rejects.toThrow('does not run');
  });

  test('has a log that can be read from the end and from anywhere', async () => {
    const id = await spawnTool(stage, String.raw`printf 'a\nb\nc\n\033[1m€\033[0m\n'`);
    await over(id, 'exited');
    expect(await call({ action: 'log', id, lines: 2 })).toMatch(
      /\n\[the last 2 lines of 18 bytes\]\nc\n€\n$/,
    );
    expect(await log(id)).toMatch(/exit code 0\.\na\nb\nc\n€\n$/);
    expect(await call({ action: 'log', id, offset: 2 })).toBe('[bytes 2 to 18 of 18]\nb\nc\n€\n');
    stage.agent.session.maxToolResultTokens = 250;
    const long = await spawnTool(stage, `seq 1 1000`);
    await over(long, 'exited');
    const first = await call({ action: 'log', id: long, offset: 0 });
    expect(first).toMatch(/^\[bytes 0 to 500 of 3893; go on with offset 500\]\n1\n2\n/);
  });

  test('wakes its session once when a line has a text, from then on', async () => {
    const id = await spawnTool(stage, 'echo ready before; while read x; do echo "$x"; done');
    await until('it prints', async () => (await printed(id)).includes('before'));
    await call({ action: 'watch', id, text: 'ready (a|b)' });
    await call({ action: 'write', id, text: 'not ready\nnow ready (a|b)!\nagain ready (a|b)\n' });
    const [wake] =
      (await until('it wakes', async () => {
        const woken = await stage.woken();
        return woken.length > 0 ? woken : null;
      })) ?? [];
    expect(wake).toMatchObject({ identity: `${id}/watch/1` });
    expect(wake?.text).toContain('a line with "ready (a|b)":\nnow ready (a|b)!\n');
    await until('that is recorded', () => recordOf(id)?.watches.every(({ told }) => told));
    await call({ action: 'write', id, text: 'once more ready (a|b)\n' });
    await until('it is printed', async () => (await printed(id)).includes('once more'));
    expect(await stage.woken()).toHaveLength(1);
  });

  test('is told again until the session has heard it, and not where there is none any more', async () => {
    const tried: string[] = [];
    const write = stage.wake;
    stage.wake = (wake) => {
      tried.push(wake.identity);
      return tried.length < 2 ? Promise.reject(new Error('draining')) : write(wake);
    };
    const id = await spawnTool(stage, 'true');
    await until('it is told', () => recordOf(id)?.told);
    expect(tried).toEqual([`${id}/end`, `${id}/end`]);
    stage.wake = () => Promise.reject(new DuragentError('session_ended', 'It has ended.'));
    const other = await spawnTool(stage, 'true');
    await until('nobody is there', () => recordOf(other)?.told);
  });

  test('is seen by its own session only', async () => {
    const id = await spawnTool(stage, 'sleep 600');
    const other = stage.caller('session_2');
    expect(await call({ action: 'list' }, other)).toContain('has started no processes');
    for (const action of ['status', 'log', 'kill', 'write', 'watch']) {
      const args = { action, id, ...(/write|watch/.test(action) ? { text: 'x' } : {}) };
      await expect(call(args, other)).rejects.toThrow(`There is no process ${id} of yours`);
      expect(stage.tool.plan(args, other)).toEqual({ fault: expect.stringContaining('of yours') });
    }
    const stranger = { ...stage.caller(), agent: { ...stage.agent, name: 'stranger' } };
    await expect(call({ action: 'kill', id }, stranger)).rejects.toThrow('of yours');
    expect(await call({ action: 'list' })).toMatch(new RegExp(`^${id} \\(sleep 600\\) runs since`));
  });

  test('is one of eight in a session, and its call starts no second', async () => {
    const caller = stage.caller();
    await spawnTool(stage, 'sleep 600', {}, caller);
    await expect(spawnTool(stage, 'sleep 600', {}, caller)).rejects.toThrow('by this call before');
    const more = await Promise.allSettled(
      Array.from({ length: 8 }, () => spawnTool(stage, 'sleep 600')),
    );
    expect(more.filter(({ status }) => status === 'rejected')).toEqual([
      {
        status: 'rejected',
        reason: expect.objectContaining({
          message: expect.stringContaining('8 processes of this session'),
        }),
      },
    ]);
  });

  test('ends with the server that stops, and its session hears of it at the next start', async () => {
    const marker = uniqueSleep();
    const id = await spawnTool(stage, `sleep ${marker}`);
    await until('it runs', () => isAsleep(marker));
    await stage.all.close();
    expect(processesWith(marker)).toEqual([]);
    expect(await stage.woken()).toEqual([]);
    await expect(spawnTool(stage, 'true')).rejects.toThrow('stopping');
    await restart('trust');
    await until('it is told', () => recordOf(id)?.told);
    expect(await stage.woken()).toMatchObject([
      { identity: `${id}/end`, text: expect.stringContaining('when the server stopped') },
    ]);
  });

  test('goes with its session, and is forgotten with it', async () => {
    const marker = uniqueSleep();
    const id = await spawnTool(stage, `sleep ${marker}`);
    await until('it runs', () => isAsleep(marker));
    await stage.all.purgeSession('session_1');
    expect(processesWith(marker)).toEqual([]);
    expect(recordOf(id)).toBeNull();
    expect(await readdir(stage.directory)).toEqual([]);
    expect(await stage.woken()).toEqual([]);
  });

  test('is kept for a while: two hundred of them, the last that ended', async () => {
    const id = await spawnTool(stage, 'true');
    await until('it is told', () => recordOf(id)?.told);
    const record = recordOf(id);
    await stage.all.close();
    if (!record) throw new Error('no record');
    const old = (n: number): string => `proc_${String(n).padStart(26, '0')}`;
    for (let n = 100; n < 303; n += 1) {
      await stage.store.put({ ...record, id: old(n), ended_at: new Date(n).toISOString() });
    }
    await writeFile(path.join(stage.directory, `${old(999)}.json`), '{"broken"');
    await restart('trust');
    expect(stage.all.list(stage.owner)).toHaveLength(200);
    expect([100, 103, 104, 302].map((n) => recordOf(old(n)) !== null)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(recordOf(id)).not.toBeNull();
  });

  test('keeps no more of its output than the limit, and goes on', async () => {
    const id = await spawnTool(stage, 'head -c 70000000 /dev/zero; exit 4');
    await over(id, 'exited');
    expect(await call({ action: 'status', id })).toContain(
      'Output: 67108864 bytes; what came later was dropped.',
    );
    expect(recordOf(id)?.exit_code).toBe(4);
  });
});

describe('the plan of a call', () => {
  stagesOf('trust');
  const plan = (args: Record<string, unknown>) => stage.tool.plan(args, stage.caller());

  test('to start one is judged by the rules of bash', () => {
    expect(plan({ action: 'spawn', command: 'npm run dev', name: 'dev' })).toEqual({
      policy: { kind: 'bash', command: 'npm run dev', tool: 'background_process' },
      shown: 'npm run dev\n[in the background]',
      command: { argv: ['npm', 'run', 'dev'], cwd: stage.workspace, env: {} },
    });
    expect(plan({ action: 'spawn', command: 'a | b', interactive: true })).toMatchObject({
      shown: 'a | b\n[in the background, in a terminal]',
      command: {
        argv: ['bash', '--noprofile', '--norc', '-c', 'a | b'],
        env: { TERM: 'screen-256color' },
      },
    });
  });

  test('is harmless but where it gives input, which is shown with the command', async () => {
    const id = await spawnTool(stage, 'cat', { name: 'copy' });
    const args = {
      status: { id },
      log: { id },
      capture: { id },
      kill: { id },
      list: {},
      watch: { id, text: 'x' },
      write: { id, text: 'rm -rf ~\u202e\n' },
      send_keys: { id, text: 'ls', keys: ['Enter'] },
    };
    const planned = Object.entries(args).map(([action, more]) => plan({ action, ...more }));
    const harmless = planned.map((one) =>
      'policy' in one && one.policy.kind === 'builtin'
        ? [one.policy.action, one.policy.harmless]
        : one,
    );
    expect(harmless).toEqual([
      ...['status', 'log', 'capture', 'kill', 'list', 'watch'].map((action) => [action, true]),
      ['write', false],
      ['send_keys', false],
    ]);
    const policy = { isInput: true };
    expect(planned.slice(-2)).toMatchObject([
      { policy, shown: `Write to the background process ${id} (copy: cat): "rm -rf ~⟨U+202E⟩\\n"` },
      { policy, shown: `Send to the background process ${id} (copy: cat): "ls" Enter` },
    ]);
  });

  test.each([
    [{ action: 'spawn' }, 'spawn needs command'],
    [{ action: 'spawn', command: ' ' }, 'the command is empty'],
    [{ action: 'spawn', command: 'a\0' }, 'NUL'],
    [{ action: 'spawn', command: 'a', id: 'proc_1' }, 'spawn takes no id'],
    [{ action: 'list', text: 'x' }, 'list takes no text'],
    [{ action: 'log', id: '../x' }, 'expected an id'],
    [{ action: 'log', id: 'proc_1', lines: 1, offset: 1 }, 'not both'],
    [{ action: 'log', id: 'proc_1' }, 'There is no process proc_1 of yours'],
    [{ action: 'send_keys', id: 'proc_1' }, 'needs text or keys'],
    [{ action: 'send_keys', id: 'proc_1', text: 'a\n' }, 'use keys'],
    [{ action: 'send_keys', id: 'proc_1', keys: ['Return'] }, 'a key is one of'],
    [{ action: 'write', id: 'proc_1' }, 'needs text or end_input'],
    [{ action: 'watch', id: 'proc_1', text: 'a\nb' }, 'lies in one line'],
    [{ action: 'fly' }, 'action'],
  ])('is a fault for %j', (args, why) => {
    expect(plan(args)).toEqual({ fault: expect.stringContaining(why) });
  });
});

const modes = ['trust', ...(needs('bwrap') ? (['bubblewrap'] as const) : [])] as const;

describe.each(modes)('in %s', (mode) => {
  stagesOf(mode);

  async function serve(marker: string, command?: string) {
    const script = fileURLToPath(new URL('background-process-server.testing.ts', import.meta.url));
    const args = ['--conditions=@duragent/source', script, mode, base, marker];
    const server = spawn(process.execPath, [...args, ...(command === undefined ? [] : [command])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    servers.push(server);
    let said = '';
    server.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('the server runs', () => said.includes('\n'));
    return { server, ...(JSON.parse(said) as { plain: string; interactive: string }) };
  }

  test('nothing of a plain process survives a server that is killed, and its session is told that it is lost', async () => {
    const marker = uniqueSleep();
    const { server, plain } = await serve(marker);
    await until('all run', () => processesWith(marker).length >= 3);
    await until('it has begun', async () => (await printed(plain)) === 'begun\n');
    server.kill('SIGKILL');
    await once(server, 'exit');
    await until('nothing is left', () => processesWith(marker).length === 0);
    await restart(mode);
    expect(recordOf(plain)).toMatchObject({ state: 'lost', exit_code: null });
    await until('it is told', () => recordOf(plain)?.told);
    await restart(mode);
    expect(await stage.woken()).toEqual([
      { session: 'session_1', identity: `${plain}/end`, text: expect.stringContaining('is lost') },
    ]);
    expect(await printed(plain)).toBe('begun\n');
  });

  describe.skipIf(!needs('tmux'))('an interactive process', () => {
    test('survives a server that is killed, and is found again', async () => {
      const marker = uniqueSleep();
      const command = `echo prompt; read a; echo "<$a>"; read b; exit 5`;
      const { server, interactive: id } = await serve(marker, command);
      await stage.all.close();
      server.kill('SIGKILL');
      await once(server, 'exit');
      await restart(mode);
      expect(recordOf(id)).toMatchObject({ state: 'running' });
      await call({ action: 'send_keys', id, text: 'it;s -x;', keys: ['Enter'] });
      await until('it answers', async () =>
        (await call({ action: 'capture', id })).includes('\n<it;s -x;>'),
      );
      await call({ action: 'send_keys', id, keys: ['Enter'] });
      await over(id, 'exited');
      expect(recordOf(id)).toMatchObject({ exit_code: 5 });
      await until('it is told', () => recordOf(id)?.told);
      expect((await stage.woken()).find(({ identity }) => identity === `${id}/end`)?.text).toMatch(
        /with exit code 5\.\nThe end of its output:\nprompt\n/,
      );
      // The screen can be seen when tmux has none any more.
      expect(await call({ action: 'capture', id })).toContain('<it;s -x;>');
      expect(await log(id)).toContain('\n<it;s -x;>\n');
    });

    test('has a terminal, in which keys are pressed', async () => {
      const id = await spawnTool(
        stage,
        'tty && echo $TERM; trap "echo caught" INT; cat; echo more; trap - INT; cat',
        { interactive: true },
      );
      await until('it has one', async () =>
        /\/dev\/\S+\nscreen-256color/.test(await call({ action: 'capture', id })),
      );
      await expect(call({ action: 'write', id, text: 'x' })).rejects.toThrow('use send_keys');
      await call({ action: 'send_keys', id, keys: ['C-c'] });
      // It was the program that the key was for: what is around it goes on.
      await until('it goes on', async () =>
        /caught\nmore/.test(await call({ action: 'capture', id })),
      );
      await call({ action: 'send_keys', id, keys: ['C-c'] });
      await over(id, 'exited');
      expect(recordOf(id)?.exit_code).toBe(130);
    });

    test('is watched, and ended with all that it started', async () => {
      const marker = uniqueSleep();
      const id = await spawnTool(
        stage,
        `read a; printf 'Continue? [y/N] '; sleep ${marker} & sleep ${marker}`,
        { interactive: true },
      );
      await call({ action: 'watch', id, text: '[y/N]' });
      await call({ action: 'send_keys', id, keys: ['Enter'] });
      await until('it wakes', async () =>
        (await stage.woken()).some(({ identity }) => identity.endsWith('/watch/1')),
      );
      await until('all run', () => processesWith(marker).length >= 2);
      await call({ action: 'kill', id });
      expect(processesWith(marker)).toEqual([]);
      expect(recordOf(id)?.state).toBe('killed');
    });

    test('that ended just before the server stops is recorded, and tmux ends with it', async () => {
      const id = await spawnTool(stage, 'read a; exit 7', { interactive: true });
      const { directory } = stage;
      const tmux = new Tmux({ directory, searchPath: process.env['PATH'] ?? '' });
      await call({ action: 'send_keys', id, keys: ['Enter'] });
      await until('tmux knows how it ended', async () => {
        const panes = await tmux.panes();
        return panes?.length === 0 || panes?.[0]?.exitCode === 7;
      });
      await stage.all.close();
      expect(await tmux.panes()).toEqual([]);
      expect(recordOf(id)).toMatchObject({ state: 'exited', exit_code: 7 });
      await restart(mode);
      await until('it is told', () => recordOf(id)?.told);
    });

    test('that ended while no server ran is told with how it ended', async () => {
      const { server, interactive: id } = await serve(
        uniqueSleep(),
        'while [ ! -e go ]; do sleep 0.05; done; exit 9',
      );
      await stage.all.close();
      server.kill('SIGKILL');
      await once(server, 'exit');
      await writeFile(path.join(stage.workspace, 'go'), '');
      const pane = JSON.parse(await readFile(path.join(stage.directory, `${id}.json`), 'utf8')) as {
        pid: number;
      };
      await until('it has ended', async () => !(await isRunning(pane.pid)));
      await restart(mode);
      await over(id, 'exited');
      expect(recordOf(id)).toMatchObject({ exit_code: 9 });
    });
  });
});
