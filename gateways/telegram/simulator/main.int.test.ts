import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';

const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Starts the command in a process of its own. */
function simulate(...args: string[]): {
  child: ChildProcess;
  line: Promise<string>;
  ended: Promise<number | null>;
} {
  const main = path.join(import.meta.dirname, 'main.ts');
  const script = `
    import { runSimulator } from ${JSON.stringify(main)};
    const ending = new AbortController();
    process.once('SIGTERM', () => ending.abort());
    process.exitCode = await runSimulator(process.argv.slice(1), ending.signal);
  `;
  const child = spawn(
    process.execPath,
    ['--conditions=@duragent/source', '--input-type=module', '-e', script, '--', ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  children.push(child);
  let out = '';
  let err = '';
  const line = new Promise<string>((resolve) => {
    child.stdout?.on('data', (bytes: Buffer) => {
      out += bytes.toString();
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')));
    });
    child.stderr?.on('data', (bytes: Buffer) => (err += bytes.toString()));
    child.once('close', () => resolve(out === '' ? err : out));
  });
  const ended = once(child, 'close').then(([code]: unknown[]) =>
    typeof code === 'number' ? code : null,
  );
  return { child, line, ended };
}

test('it says where it is, and ends when it is told to', async () => {
  const { child, line, ended } = simulate('--token', `123456:${'a'.repeat(35)}`);
  const { url, token } = JSON.parse(await line) as { url: string; token: string };
  expect(token).toBe(`123456:${'a'.repeat(35)}`);
  const response = await fetch(`${url}/bot${token}/getMe`);
  expect(await response.json()).toMatchObject({ ok: true, result: { id: 123456 } });
  // A poll that waits does not keep it.
  const poll = fetch(`${url}/bot${token}/getUpdates?timeout=50`).then(String, () => 'cut');
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  await poll;
});

test('it ends by itself when it is told for how long', async () => {
  const { line, ended } = simulate('--for', '0');
  expect(JSON.parse(await line)).toMatchObject({ username: 'simulated_bot' });
  expect(await ended).toBe(0);
});

test.each([
  [['--port', 'x'], 2, '--port is a number from 0 to 65535'],
  [['--limits', 'some'], 2, '--limits is off or telegram'],
  [['--what'], 2, 'see simulate --help'],
  [['--token', 'x'], 1, 'a token looks like'],
])('%j ends with %i', async (args, code, words) => {
  const { line, ended } = simulate(...args);
  expect(await line).toContain(words);
  expect(await ended).toBe(code);
});

test('a port that is taken is named', async () => {
  const taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    const { line, ended } = simulate('--port', String(port));
    expect(await line).toContain('EADDRINUSE');
    expect(await ended).toBe(1);
  } finally {
    taken.close();
  }
});
