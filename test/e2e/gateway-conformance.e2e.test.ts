import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testGateway } from '../../apps/cli/src/commands/gateway-test.ts';
import type { Report } from '../../apps/cli/src/gateway-test/run-suite.ts';
import { needs } from '../support/needs.ts';
import { programFile } from '../support/programs.ts';

const root = path.join(import.meta.dirname, '../..');
// As a server does it: what a gateway calls `node` is the Node that runs this.
const PATH = `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
const env = { ...process.env, PATH };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-gateways-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** Runs `duragent gateway test`. */
async function run(
  [command = '', ...args]: readonly string[],
  options: { config: object; provoke: string; chat?: string },
): Promise<{ exitCode: number; report: Report; faults: string[]; skipped: string[] }> {
  let printed = '';
  const screen = (): Writable =>
    new Writable({
      write(chunk: Buffer, _, done) {
        printed += String(chunk);
        done();
      },
    });
  const exitCode = await testGateway(
    {
      command,
      args,
      ...options,
      config: JSON.stringify(options.config),
      timeoutSeconds: 20,
      json: true,
    },
    { cwd: dir, env, stdout: screen(), stderr: screen() },
  );
  const report = JSON.parse(printed) as Report;
  const of = (result: string): Report['rules'] => report.rules.filter((it) => it.result === result);
  return {
    exitCode,
    report,
    faults: of('fail').map(({ id, why }) => `${id}: ${why ?? ''}`),
    skipped: of('skipped').map(({ id }) => id),
  };
}

test('the loopback gateway keeps every rule', async () => {
  const urlFile = path.join(dir, 'url.json');
  // A person who sends it again until it was taken, as they would when a chat is away.
  const says = path.join(dir, 'say.mjs');
  await writeFile(
    says,
    `import { readFile } from 'node:fs/promises';
    const event_id = crypto.randomUUID();
    const { DURAGENT_TEST_CHAT: chat_id, DURAGENT_TEST_TEXT: text } = process.env;
    for (;;) {
      try {
        const { url } = JSON.parse(await readFile(${JSON.stringify(urlFile)}, 'utf8'));
        const { ok } = await fetch(url + '/messages', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ chat_id, text, event_id }),
        });
        if (ok) break;
      } catch {}
      await new Promise((resolve) => setTimeout(resolve, 50));
    }`,
  );
  const gateway = programFile('@duragent/gateway-loopback');
  const { exitCode, report, faults, skipped } = await run([gateway], {
    config: { url_file: urlFile, state_file: path.join(dir, 'state.json') },
    provoke: `'${process.execPath}' '${says}'`,
  });
  expect(faults).toEqual([]);
  expect(skipped).toEqual([]);
  expect(report.gateway).toBe('loopback');
  expect(exitCode).toBe(0);
}, 120_000);

test.skipIf(!needs('python3'))(
  'the example in Python keeps every rule',
  async () => {
    const file = path.join(dir, 'chat.jsonl');
    const address = path.join(dir, 'address');
    const says = `
import os, socket
host, port = open(${JSON.stringify(address)}).read().split()
person = socket.create_connection((host, int(port)))
reader = person.makefile("rb")
reader.readline()
person.sendall(b"ann\\n" + os.environ["DURAGENT_TEST_TEXT"].encode() + b"\\n")
reader.readline()
`;
    await writeFile(path.join(dir, 'say.py'), says);
    const { exitCode, report, faults, skipped } = await run(
      ['python3', path.join(root, 'examples/gateways/python/gateway.py')],
      { config: { port: 0, file, address_file: address }, provoke: 'python3 say.py' },
    );
    expect(faults).toEqual([]);
    // What a chat of plain lines does not have.
    expect(skipped).toEqual(
      'edit edit-unknown delete delete-unknown preview buttons press-answer media'.split(' '),
    );
    expect(report.capabilities).toEqual(['ack', 'nonce', 'find']);
    expect(exitCode).toBe(0);
    const posted = (await readFile(file, 'utf8')).trim().split('\n');
    const once = posted.filter((line) => line.includes('this is here once'));
    // One for each of the two nonces.
    expect(once).toHaveLength(2);
  },
  120_000,
);

test.skipIf(!needs('jq'))(
  'the example in POSIX shell keeps every rule',
  async () => {
    await mkdir(path.join(dir, 'inbox', 'ann'), { recursive: true });
    const { exitCode, report, faults, skipped } = await run(
      [path.join(root, 'examples/gateways/shell/gateway.sh')],
      {
        config: { dir },
        chat: 'ann',
        provoke:
          'file=$(mktemp inbox/ann/.XXXXXXXX) && printf %s "$DURAGENT_TEST_TEXT" >"$file" && mv "$file" "inbox/ann/${file##*.}"',
      },
    );
    expect(faults).toEqual([]);
    expect(skipped).toEqual('preview nonce find buttons press-answer media'.split(' '));
    expect(report.capabilities).toEqual(['ack', 'edit', 'delete']);
    expect(exitCode).toBe(0);
    // What was said was acked, and is gone; what the bot said is there.
    expect(await readdir(path.join(dir, 'taken', 'ann'))).toEqual([]);
    expect(await readFile(path.join(dir, 'outbox', 'ann', '1.txt'), 'utf8')).toContain('first');
  },
  240_000,
);
