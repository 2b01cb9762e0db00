import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CliContext } from '../context.ts';
import { runProgram, type Surroundings } from '../program.ts';
import { simulate } from './sim.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-sim-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Puts a gateway there that writes its arguments into `said`, and goes on with `rest`. */
async function install(folder: string, rest = ''): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, 'duragent-gateway-test');
  await writeFile(file, `#!/bin/sh\nprintf '%s\\n' "$@" > "${dir}/said"\n${rest}\n`);
  await chmod(file, 0o755);
}

async function said(): Promise<string[]> {
  const { readFile } = await import('node:fs/promises');
  return (await readFile(path.join(dir, 'said'), 'utf8')).trim().split('\n');
}

function contextOf(cwd: string, PATH = '/usr/bin:/bin'): CliContext {
  const { stdin, stdout, stderr } = process;
  const globals = { verbose: 0, quiet: false, color: false, server: null, token: null };
  return { env: { PATH }, cwd, stdin, stdout, stderr, globals };
}

describe('duragent sim', () => {
  it('runs the simulator that is on PATH, with its arguments, and ends as it does', async () => {
    await install(path.join(dir, 'bin'), 'exit 7');
    const context = contextOf('/', `${path.join(dir, 'bin')}:/usr/bin:/bin`);
    expect(await simulate(context, 'test', ['--port', '0'])).toBe(7);
    expect(await said()).toEqual(['simulate', '--port', '0']);
  });

  it('finds it in node_modules/.bin above the working directory', async () => {
    await install(path.join(dir, 'node_modules/.bin'));
    const below = path.join(dir, 'a/b');
    await mkdir(below, { recursive: true });
    expect(await simulate(contextOf(below), 'test', [])).toBe(0);
  });

  it('hands on every option, also those that this command has', async () => {
    await install(path.join(dir, 'bin'));
    const surroundings: Surroundings = contextOf('/', `${path.join(dir, 'bin')}:/usr/bin:/bin`);
    const argv = ['sim', 'test', '--port', '0', '--token', 'x', '--help', '-q', '--server', 'y'];
    const options = { version: '1.2.3', onGlobals: () => undefined };
    expect(await runProgram(argv, surroundings, options)).toBe(0);
    expect(await said()).toEqual(['simulate', ...argv.slice(2)]);
  });

  it('ends with it when it is told to', async () => {
    await install(path.join(dir, 'bin'), 'exec sleep 60');
    const context = contextOf('/', `${path.join(dir, 'bin')}:/usr/bin:/bin`);
    const running = simulate(context, 'test', []);
    const deadline = Date.now() + 10_000;
    while (Date.now() < deadline && (await said().catch(() => null)) === null) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    process.emit('SIGTERM');
    expect(await running).toBe(128 + 15);
  });

  it('says where it comes from when there is none', async () => {
    const wanted = /duragent-gateway-nowhere.*npm install @duragent\/gateway-nowhere/;
    await expect(simulate(contextOf(dir), 'nowhere', [])).rejects.toThrow(wanted);
    await expect(simulate(contextOf(dir), '../x', [])).rejects.toMatchObject({ code: 'usage' });
  });
});
