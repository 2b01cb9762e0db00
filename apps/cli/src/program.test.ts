import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { runProgram, type Surroundings } from './program.ts';
import { reportError } from './report-error.ts';
import { DuragentError } from '@duragent/protocol';

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function run(...argv: string[]) {
  const out = new Sink();
  const err = new Sink();
  const surroundings = { env: {}, cwd: '/', stdin: process.stdin, stdout: out, stderr: err };
  const exitCode = await runProgram(argv, surroundings as unknown as Surroundings, {
    version: '1.2.3',
    onGlobals: () => undefined,
  });
  return { exitCode, out: out.text, err: err.text };
}

describe('the arguments', () => {
  it.each([
    [['chta'], 'unknown command', 'chat'],
    [['serve', '--prot', '1'], 'unknown option', '--port'],
    [['session', 'sohw', 'x'], 'unknown command', 'show'],
    [['gateway', 'lsit'], 'unknown command', 'list'],
    [['chat', '--agnet', 'x'], 'unknown option', '--agent'],
  ])('%j are a usage error with a suggestion', async (argv, fault, suggestion) => {
    const { exitCode, err, out } = await run(...argv);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/^duragent: /);
    expect(err).toContain(fault);
    expect(err).toContain(suggestion);
    expect(out).toBe('');
  });

  it.each([
    [['sessions', '-o', 'yaml']],
    [['sessions', '--status', 'gone']],
    [['session', 'show']],
    [['chat', 'extra']],
    [['serve', '--ephemeral', 'soon']],
    [['serve', '--ephemeral', '0']],
    [['gateway', 'logs', 'x', '--lines', '0']],
    [['gateway', 'restart']],
    [['gateway', 'test']],
    [['outbox', 'retry']],
    [['access', 'revoke', 'helper']],
    [['sim']],
    [[]],
  ])('%j are a usage error', async (argv) => {
    const { exitCode, err } = await run(...argv);
    expect(exitCode).toBe(2);
    expect(err).not.toBe('');
  });

  it.each([[['--help']], [['chat', '--help']], [['serve', 'stop', '--help']]])(
    '%j is help, and no error',
    async (argv) => {
      const { exitCode, out, err } = await run(...argv);
      expect(exitCode).toBe(0);
      expect(out).toContain('Usage: duragent');
      expect(err).toBe('');
    },
  );

  it.each([[['--version']], [['chat', '--version']]])(
    '%j prints the version, and runs nothing',
    async (argv) => {
      expect(await run(...argv)).toEqual({ exitCode: 0, out: '1.2.3\n', err: '' });
    },
  );

  it('names every command of this version, and no other', async () => {
    const { out } = await run('--help');
    const names = [...out.matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1]);
    expect(names).toEqual([
      'init',
      'chat',
      'attach',
      'run',
      'sessions',
      'session',
      'agent',
      'gateway',
      'outbox',
      'schedules',
      'approvals',
      'questions',
      'access',
      'memory',
      'sim',
      'serve',
      'help',
    ]);
  });

  it('without a server, --server without a token is a usage error', async () => {
    await expect(run('--server', 'http://127.0.0.1:1', 'sessions')).rejects.toMatchObject({
      code: 'usage',
    });
    await expect(run('sessions', '--server', 'ftp://x', '--token', 't')).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

describe('exit codes', () => {
  it.each([
    ['usage', 2],
    ['no_server', 69],
    ['locked', 73],
    ['storage_failed', 74],
    ['draining', 75],
    ['forbidden', 77],
    ['config_invalid', 78],
    ['session_not_found', 1],
  ] as const)('%s ends with %i', (code, exitCode) => {
    expect(exitCodeOf(new DuragentError(code, 'x'))).toBe(exitCode);
    expect(exitCodes[code]).toBe(exitCode);
  });

  it('knows the errors of the system, and takes any other for a failure', () => {
    expect(exitCodeOf(Object.assign(new Error('x'), { code: 'EACCES' }))).toBe(77);
    expect(exitCodeOf(Object.assign(new Error('x'), { code: 'ENOSPC' }))).toBe(74);
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(exitCodeOf(Object.assign(new Error('x'), { code: 'toString' }))).toBe(1);
    expect(exitCodeOf(null)).toBe(1);
  });
});

describe('an error', () => {
  const error = new DuragentError('no_server', 'No answer. \x1b[2JStart canary-token-1.', {
    cause: new Error('fetch failed', { cause: new Error('ECONNREFUSED') }),
  });

  it('is told in its own words, cleaned, without stack, cause and token', () => {
    const out = new Sink();
    expect(reportError(error, out, { verbose: 0, token: 'canary-token-1' })).toBe(69);
    expect(out.text).toBe('duragent: No answer. Start [token].\n');
  });

  it('is told with what caused it by -vv', () => {
    const out = new Sink();
    reportError(error, out, { verbose: 2, token: null });
    expect(out.text.split('\n').slice(1, 3)).toEqual([
      '  because: fetch failed',
      '  because: ECONNREFUSED',
    ]);
    expect(out.text).not.toContain(' at ');
  });
});
