import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processRecordSchema, type ProcessRecord } from '../../core/processes/process-record.ts';
import type { ProcessStore } from '../../ports/process-store.ts';
import { fileProcessStore } from './filesystem.ts';

let base: string;
let directory: string;
let store: ProcessStore;
beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), 'processes-'));
  directory = path.join(base, 'processes');
  store = fileProcessStore({
    directory,
    parse: (value) => processRecordSchema.safeParse(value).data ?? null,
  });
});
afterEach(() => rm(base, { recursive: true, force: true }));

const idOf = (n: number): string => `proc_${String(n).padStart(26, '0')}`;
const record = (n: number, change: Partial<ProcessRecord> = {}): ProcessRecord => ({
  id: idOf(n),
  session: 's',
  agent: 'a',
  call: 'c',
  command: 'sleep 1\n"€"',
  name: 'x',
  interactive: true,
  started_at: '2026-01-01T00:00:00.000Z',
  state: 'running',
  pid: 1,
  birth: 'boot:1',
  ended_at: null,
  exit_code: null,
  signal: null,
  fault: null,
  told: false,
  watches: [{ n: 1, text: 'ready', from: 0, line: null, told: false }],
  ...change,
});

test('what was kept last is there, oldest first, for its owner only', async () => {
  expect(await store.list()).toEqual([]);
  await store.put(record(2));
  await store.put(record(1));
  await store.put(record(2, { state: 'exited', exit_code: 0 }));
  expect(await store.list()).toEqual([record(1), record(2, { state: 'exited', exit_code: 0 })]);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect((await stat(path.join(directory, `${idOf(1)}.json`))).mode & 0o777).toBe(0o600);
});

test('one that is broken, of another name, or a link hides no other', async () => {
  await store.put(record(1));
  const text = await readFile(path.join(directory, `${idOf(1)}.json`), 'utf8');
  await writeFile(path.join(directory, `${idOf(2)}.json`), text);
  await writeFile(path.join(directory, `${idOf(3)}.json`), text.slice(0, -10));
  await writeFile(path.join(directory, `${idOf(4)}.json`), '{}');
  await writeFile(path.join(directory, 'other.json'), text);
  await symlink(path.join(directory, `${idOf(1)}.json`), path.join(directory, `${idOf(5)}.json`));
  expect(await store.list()).toEqual([record(1)]);
});

test('a record goes with its output, and nothing else can be removed', async () => {
  await store.put(record(1));
  await mkdir(path.join(directory, idOf(1)));
  await writeFile(path.join(directory, idOf(1), 'output.log'), 'x');
  await store.remove(idOf(1));
  await store.remove(idOf(1));
  expect(await readdir(directory)).toEqual([]);
  await expect(store.remove('..')).rejects.toThrow('.. is no process');
  await expect(store.put(record(1, { id: '../x' }))).rejects.toThrow('is no process');
});

test('what the disk refuses is said', async () => {
  await writeFile(directory, 'no folder');
  await expect(store.put(record(1))).rejects.toMatchObject({ code: 'storage_failed' });
  await expect(store.list()).rejects.toMatchObject({ code: 'storage_failed' });
});
