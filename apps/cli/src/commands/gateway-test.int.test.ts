import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testGateway, type GatewayTestOptions } from './gateway-test.ts';

const scripted = path.join(import.meta.dirname, '../gateway-test/scripted-gateway.testing.ts');

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-gateway-command-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function run(
  fault: string,
  more: Partial<GatewayTestOptions> = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const written = { stdout: '', stderr: '' };
  const screen = (name: keyof typeof written): Writable =>
    new Writable({
      write(chunk: Buffer, _, done) {
        written[name] += String(chunk);
        done();
      },
    });
  const exitCode = await testGateway(
    { command: process.execPath, args: [scripted, fault, dir], timeoutSeconds: 3, ...more },
    { cwd: dir, env: process.env, stdout: screen('stdout'), stderr: screen('stderr') },
  );
  return { exitCode, ...written };
}

test('a gateway that breaks no rule gives a table, says what was not tested, and ends with 0', async () => {
  const { exitCode, stdout, stderr } = await run('none');
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^scripted, protocol v1; ack preview edit/);
  expect(stdout).toMatch(/^pass +ready-first +Answers configure/m);
  expect(stdout).toMatch(/^skipped: inbound\n {2}.*--provoke/m);
  expect(stdout).toMatch(/\n\d+ passed, 0 failed, 6 skipped\n$/);
  expect(stderr).toBe('');
});

test('one that breaks a rule ends with 1, and names the section that says so', async () => {
  const { exitCode, stdout } = await run('odd-capability');
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(/^fail +capabilities-known /m);
  expect(stdout).toContain(
    'fail: capabilities-known (PROTOCOL.md, Capabilities of a gateway)\n  unknown or repeated: telepathy',
  );
});

test('--json gives every rule to programs', async () => {
  const { exitCode, stdout } = await run('newer-protocol', { json: true });
  expect(exitCode).toBe(1);
  const report = JSON.parse(stdout) as { rules: { id: string; result: string; why?: string }[] };
  expect(report).toMatchObject({ gateway: 'scripted', protocol: 'v2' });
  expect(report.rules.find(({ id }) => id === 'protocol-version')).toMatchObject({
    result: 'fail',
    why: 'it announces "v2"',
  });
});

test('a command that cannot be started breaks the first rule, and is shown what was said', async () => {
  const { exitCode, stdout, stderr } = await run('', { command: path.join(dir, 'nothing') });
  expect(exitCode).toBe(1);
  expect(stdout).toContain('it could not be started before ready');
  expect(stderr).toContain('ENOENT');
});

test('what a gateway says cannot act on the terminal', async () => {
  const script = path.join(dir, 'rude.sh');
  await writeFile(script, `printf '{"type":"\\033]0;owned\\007"}\\n\\033[2J\\n'; exit 1\n`);
  const { stdout } = await run('', { command: '/bin/sh', args: [script] });
  expect(stdout).toContain('fail');
  expect(stdout).not.toMatch(/[\u001b\u0007]/);
});

test.each([
  ['{"a":', '--config cannot be read'],
  ['[]', '--config cannot be read'],
  ['missing.json', '--config cannot be read'],
  ['list.json', '--config takes a JSON object'],
])('--config %s is refused', async (config, message) => {
  await writeFile(path.join(dir, 'list.json'), '[]');
  await expect(run('none', { config })).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining(message),
  });
});

test('nothing to test is refused', async () => {
  await expect(run('', { command: '' })).rejects.toMatchObject({ code: 'usage' });
});
