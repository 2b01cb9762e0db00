import { describe, expect, test } from 'vitest';
import { parsePlainCommand } from '../../core/policy/plain-command.ts';
import type { RunOutcome, Sandbox, SandboxCommand } from '../../ports/sandbox.ts';
import type { ToolCaller, ToolResult } from '../../ports/tool.ts';
import { testAgent } from '../testing.ts';
import { bashTool, type BashToolOptions } from './bash.ts';

const output = { head: '', tail: '', bytes: 0, omittedBytes: 0, file: null };
const exited = { end: 'exited', exitCode: 0, signal: null, durationMs: 12, output } as const;

/** The tool over a sandbox that answers as the test says. */
function setUp(outcome: RunOutcome = exited, options: Partial<BashToolOptions> = {}) {
  const commands: SandboxCommand[] = [];
  const sandbox: Sandbox = {
    ready: () => Promise.reject(new Error('not asked for')),
    run: (command, { onOutput }) => {
      commands.push(command);
      onOutput?.('shown');
      return Promise.resolve(outcome);
    },
    wrap: () => Promise.resolve({ fault: 'not asked for' }),
    end: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const tool = bashTool({
    sandbox,
    workspace: '/ws',
    networkOf: () => 'none',
    outputs: { file: (session, call) => Promise.resolve(`/out/${session}/${call}.log`) },
    parsePlain: parsePlainCommand,
    ...options,
  });
  const agent = testAgent();
  const caller: ToolCaller = { session: 'ses_1', turn: 'trn_1', call: 'cal_1', agent };
  const shown: string[] = [];
  const run = (args: Record<string, unknown>): Promise<ToolResult> =>
    tool.run(args, {
      signal: new AbortController().signal,
      onOutput: (text) => void shown.push(text),
      caller,
    });
  return {
    tool,
    caller,
    commands,
    shown,
    run,
    plan: (args: object) => tool.plan({ ...args }, caller),
  };
}

describe('the plan of a command', () => {
  test('runs a plain one without a shell', () => {
    expect(setUp().plan({ command: `git commit -m 'a $b'` })).toEqual({
      policy: { kind: 'bash', command: `git commit -m 'a $b'` },
      shown: `git commit -m 'a $b'`,
      command: { argv: ['git', 'commit', '-m', 'a $b'], cwd: '/ws', env: {} },
    });
  });

  test.each(['ls | wc', 'echo $HOME', 'cd x', 'a=1 b', 'ls *', 'echo a\necho b'])(
    'runs %j by bash, without its start files, and shows all of it',
    (command) => {
      expect(setUp().plan({ command, timeout: 5 })).toEqual({
        policy: { kind: 'bash', command },
        shown: command,
        command: { argv: ['bash', '--noprofile', '--norc', '-c', command], cwd: '/ws', env: {} },
      });
    },
  );

  test.each([
    [{}, 'needs command'],
    [{ command: '  \n' }, 'needs command'],
    [{ command: ['ls'] }, 'needs command'],
    [{ command: 'a\0b' }, 'NUL'],
    [{ command: 'a\ud800' }, 'half a pair'],
    [{ command: 'x'.repeat(40_001) }, 'script to a file'],
    [{ command: 'ls', timeout: 0 }, 'from 1 to 3600'],
    [{ command: 'ls', timeout: 3601 }, 'from 1 to 3600'],
    [{ command: 'ls', timeout: '5' }, 'from 1 to 3600'],
    [{ command: 'ls', timeout: 1.5 }, 'from 1 to 3600'],
    [{ command: 'ls', cwd: '/' }, '"cwd"'],
  ])('is refused for %j', async (args, why) => {
    const { plan, run, commands } = setUp();
    expect(plan(args)).toEqual({ fault: expect.stringContaining(why) });
    expect(await run(args)).toMatchObject({ outcome: 'error' });
    expect(commands).toEqual([]);
  });
});

describe('the run of a command', () => {
  test('is what was planned, and shows its output as it comes', async () => {
    const { run, plan, commands, shown, caller } = setUp();
    const args = { command: 'ls | wc', timeout: 7 };
    await run(args);
    const planned = plan(args);
    if ('fault' in planned) throw new Error(planned.fault);
    expect(commands).toEqual([
      {
        ...planned.command,
        network: 'none',
        readable: [caller.agent.home],
        timeoutMs: 7000,
        keepBytes: caller.agent.session.maxToolResultTokens * 4 - 500,
        outputFile: '/out/ses_1/cal_1.log',
      },
    ]);
    expect(shown).toEqual(['shown']);
  });

  test('takes two minutes where no timeout is given', async () => {
    const { run, commands } = setUp();
    await run({ command: 'ls' });
    expect(commands[0]?.timeoutMs).toBe(120_000);
  });

  test('goes on where its output cannot be kept', async () => {
    const { run, commands } = setUp(exited, {
      outputs: { file: () => Promise.reject(new Error('ENOSPC')) },
    });
    expect(await run({ command: 'ls' })).toMatchObject({ outcome: 'ok' });
    expect(commands[0]).not.toHaveProperty('outputFile');
  });

  const hello = { ...output, head: 'hello\n', bytes: 6 };
  test.each<[string, RunOutcome, Partial<ToolResult>]>([
    ['no output', exited, { outcome: 'ok', content: 'Exit code 0.\nThere was no output.' }],
    ['an output', { ...exited, output: hello }, { content: 'Exit code 0.\nOutput:\nhello\n' }],
    [
      'an exit code',
      { ...exited, exitCode: 3, output: hello },
      { outcome: 'error', content: 'Exit code 3.\nOutput:\nhello\n' },
    ],
    [
      'a signal in a code',
      { ...exited, exitCode: 137 },
      { outcome: 'error', content: 'Exit code 137 (128 + SIGKILL).\nThere was no output.' },
    ],
    [
      'a signal',
      { ...exited, exitCode: null, signal: 'SIGTERM' },
      { outcome: 'error', content: 'Ended by SIGTERM.\nThere was no output.' },
    ],
    [
      'its timeout',
      { end: 'timed_out', durationMs: 9, output: hello },
      {
        outcome: 'timed_out',
        content: expect.stringContaining('after 5 s, its timeout.\nOutput:'),
      },
    ],
    [
      'a cancel',
      { end: 'cancelled', durationMs: 9, output: hello },
      { outcome: 'cancelled', content: expect.stringContaining('was cancelled.\nOutput:\nhello') },
    ],
    [
      'no start',
      { end: 'not_started', reason: 'there is no program "x"' },
      { outcome: 'error', content: 'The command was not started: there is no program "x".' },
    ],
  ])('tells the model of %s', async (_, outcome, result) => {
    expect(await setUp(outcome).run({ command: 'x', timeout: 5 })).toMatchObject(result);
  });

  const path = '/out/ses_1/cal_1.log';
  test.each([
    [{ path, bytes: 1000, fault: null }, 'the whole output is kept with the session'],
    [{ path, bytes: 900, fault: null }, 'the first 900 bytes of the output are kept'],
    [{ path, bytes: 0, fault: 'ENOSPC' }, 'they are not kept'],
    [null, 'they are not kept'],
  ])('says how much is left out, and what became of it (%j)', async (file, what) => {
    const cut = { head: 'start', tail: 'end', bytes: 1000, omittedBytes: 992, file };
    const { content, details } = await setUp({ ...exited, output: cut }).run({ command: 'x' });
    expect(content).toContain('start\n[992 bytes are left out here; ');
    expect(content).toContain(`${what}`);
    expect(content).toMatch(/\]\nend$/);
    expect(content).not.toContain('/out/');
    expect(details).toEqual({
      exit_code: 0,
      duration_ms: 12,
      output_bytes: 1000,
      omitted_bytes: 992,
    });
  });
});
