import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-log-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Runs a script over `log` and `change` of a log that hides `canary-first-secret`. @returns what it wrote. */
async function written(script: string): Promise<{ stderr: string; file: string }> {
  const url = pathToFileURL(path.join(import.meta.dirname, 'pino.ts')).href;
  const file = path.join(dir, 'server.log');
  const options = { level: 'info', format: 'json', file, secrets: ['canary-first-secret'] };
  const source = `import { openLog } from ${JSON.stringify(url)};
const { log, change } = openLog(${JSON.stringify(options)});
${script}`;
  const args = ['--conditions=@duragent/source', '--input-type=module', '-e', source];
  const { stderr } = await promisify(execFile)(process.execPath, args);
  return { stderr, file: await readFile(file, 'utf8') };
}

test('secrets are hidden by value, those of before and those that came later', async () => {
  const { stderr, file } = await written(`
    log.info({ token: 'canary-first-secret' }, 'one canary-later-secret');
    change({ level: 'info', secrets: ['canary-later-secret'] });
    log.info({ err: new Error('canary-first-secret') }, 'two canary-later-secret');
  `);
  expect(file).toBe(stderr);
  expect(file).not.toContain('canary-first-secret');
  const [before, after] = file.split('\n');
  expect(before).toContain('one canary-later-secret');
  expect(after).toContain('two [redacted]');
});

test('a secret is hidden as JSON writes it, and one within another leaves no rest', async () => {
  const { file } = await written(`
    const odd = 'canary"with\\\\quotes\\n';
    change({ level: 'info', secrets: ['canary-in', 'canary-in-canary-out', odd] });
    log.info({ odd }, 'canary-in-canary-out');
  `);
  expect(JSON.parse(file)).toMatchObject({ odd: '[redacted]', msg: '[redacted]' });
});

test('the level can be changed in both directions', async () => {
  const { file } = await written(`
    log.debug('one');
    change({ level: 'debug', secrets: [] });
    log.debug('two');
    change({ level: 'warn', secrets: [] });
    log.info('three');
    log.warn('four');
  `);
  const said = file
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
  expect(said).toEqual(['two', 'four']);
});
