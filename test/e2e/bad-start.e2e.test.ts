import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';

let workspace: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create();
});
afterEach(async () => {
  await workspace.close();
});

/** A port that another program listens on. */
async function busyPort(): Promise<AsyncDisposable & { port: number }> {
  const other = createServer();
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      other.close();
      await once(other, 'close');
    },
  };
}

describe('a configuration that is wrong ends with 78, the place, and what to do', () => {
  const cases: [what: string, yaml: string, said: string[]][] = [
    ['broken YAML', 'server: {port: 80', ['duragent.yaml:1:18:']],
    ['an unknown key', 'server:\n  prot: 1\n', ['duragent.yaml:2:3:', 'did you mean "port"?']],
    [
      'an unset variable',
      'default_agent: ${NOT_SET}\n',
      ['duragent.yaml:1:16:', 'NOT_SET', '${NOT_SET:-'],
    ],
    ['a wrong type', 'server:\n  port: many\n', ['duragent.yaml:2:9:', 'server.port', '65535']],
    ['a key twice', 'admin: {}\nserver: {}\nadmin: {}\n', ['duragent.yaml:3:1:', 'remove one']],
    [
      'two values for one setting',
      'server:\n  port: 1\ngateways:\n  http: { port: 2 }\n',
      ['duragent.yaml:4:', 'server.port'],
    ],
    ['a list', '- a\n', ['duragent.yaml:1:1:', 'a map of keys']],
    ['a tag', 'data_dir: !!js x\n', ['duragent.yaml:1:', 'not allowed']],
  ];
  test.each(cases)('%s', async (_what, yaml, said) => {
    await workspace.configure(yaml);
    const run = workspace.run(['serve', '--port', '0']);
    expect(await run.exit()).toMatchObject({ code: 78 });
    for (const words of said) expect(run.stderr).toContain(words);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.stdout).toBe('');
  });

  test('a variable that cannot be used', async () => {
    const run = workspace.run(['serve'], { DURAGENT_PORT: 'abc' });
    expect(await run.exit()).toMatchObject({ code: 78 });
    expect(run.stderr).toContain('DURAGENT_PORT');
  });

  test('a file that is not there, or is no YAML by its name', async () => {
    const runs = ['nope.yaml', 'duragent.txt'].map((file) =>
      workspace.run(['serve', '--config', file]),
    );
    for (const run of runs) expect(await run.exit()).toMatchObject({ code: 78 });
    expect(runs[0]?.stderr).toContain('there is no file');
    expect(runs[1]?.stderr).toContain('not named .yaml');
  });
});

describe('a port that another program has', () => {
  test('is an error that names it when it was typed, and nothing is left behind', async () => {
    await using busy = await busyPort();
    const run = workspace.run(['serve', '--port', String(busy.port)]);
    expect(await run.exit()).toMatchObject({ code: 1 });
    expect(run.stderr).toContain(`Port ${busy.port} on 127.0.0.1 is in use`);
    expect(run.stderr).toContain('--port');
    const next = await workspace.serve();
    expect((await next.api.call('GET', '/readyz')).status).toBe(200);
  });

  test('gives way to the next free one when it is the file’s, unless that is strict', async () => {
    await using busy = await busyPort();
    await workspace.configure(`server: { port: ${busy.port}, port_strict: true }\n`);
    const strict = workspace.run(['serve']);
    expect(await strict.exit()).toMatchObject({ code: 1 });
    expect(strict.stderr).toContain(`Port ${busy.port}`);
    await workspace.configure(`server: { port: ${busy.port} }\n`);
    const { url } = await workspace.serve([]);
    const port = Number(new URL(url).port);
    expect(port).toBeGreaterThan(busy.port);
    expect(port).toBeLessThanOrEqual(busy.port + 99);
  });
});

test('a damaged EPOCH is not guessed: exit 74, and what to write into it', async () => {
  const { run } = await workspace.serve();
  await run.kill('SIGTERM');
  const file = path.join(workspace.dataDir, 'EPOCH');
  for (const garbage of ['', 'garbage', '-1', '1.5']) {
    await writeFile(file, garbage);
    const refused = workspace.run(['serve', '--port', '0']);
    expect(await refused.exit()).toMatchObject({ code: 74 });
    expect(refused.stderr).toContain(file);
  }
  await writeFile(file, '7\n');
  const { api } = await workspace.serve();
  expect((await api.call('GET', '/readyz')).status).toBe(200);
});
