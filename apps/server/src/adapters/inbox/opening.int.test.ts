import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { arrival, blocked } from '../../ports/inbox.testing.ts';
import type { Inbox, InboxEntry } from '../../ports/inbox.ts';
import { FaultyFiles } from '../files/faults.testing.ts';
import { crcOfLine, sealLine } from '../files/sealed-line.ts';
import { fileInboxStore } from './filesystem.ts';
import { encodeEntry, encodeHeader, entryBody, otherBody } from './record.ts';

const NAME = 'telegram';

let root: string;
let files: FaultyFiles;

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'duragent-inbox-'));
  files = new FaultyFiles();
  await mkdir(path.join(root, NAME));
});
afterEach(async () => {
  await files.closeAll();
  await rm(root, { recursive: true });
});

const folder = (name = '') => path.join(root, NAME, name);
const FILE = 'inbox.jsonl';
const content = (name = FILE) => readFile(folder(name), 'utf8');
const put = (text: string | Uint8Array) => writeFile(folder(FILE), text);

async function openInbox(): Promise<{ inbox: Inbox; unhanded: InboxEntry[] }> {
  await files.closeAll();
  files = new FaultyFiles();
  return fileInboxStore({ dir: root, files, onSyncFailure: () => {} }).open(NAME);
}

/** Lines as an inbox holds them. */
function linesOf(bodies: readonly string[], header = encodeHeader(NAME)): string[] {
  let { crc } = header;
  const lines = bodies.map((body) => {
    const sealed = sealLine(body, crc);
    crc = sealed.crc;
    return sealed.line;
  });
  return [header.line, ...lines];
}
const join = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');
const entry = (n: number) => entryBody(n, encodeEntry(arrival(`k${n}`)));
const keyOnly = (n: number, key: string) =>
  `{"n":${n},"key":"${key}","at":"2026-11-21T00:00:00.000Z"`;
const entries = (count: number) => Array.from({ length: count }, (_, index) => entry(index + 1));

test.each([
  ['a cut line', (next: string) => next.slice(0, 30)],
  ['a whole line without its LF', (next: string) => next],
  ['a line whose CRC is wrong', (next: string) => `${next.replace('hello', 'Hello')}\n`],
  ['zeros', () => '\0'.repeat(5000)],
  ['an endless line', () => 'x'.repeat(3 * 1024 * 1024)],
  ['several lines of nothing', () => '\n\n{}\n[]\n{"n":1}\n'],
])('%s at the end is saved beside the file, and cut off', async (_, makeTorn) => {
  const lines = linesOf(entries(4));
  const good = join(lines.slice(0, 4));
  const torn = makeTorn(lines[4] ?? '');
  await put(good + torn);
  const { inbox, unhanded } = await openInbox();
  expect(unhanded.map(({ n }) => n)).toEqual([1, 2, 3]);
  expect(await content()).toBe(good);
  expect(await content(`${FILE}.torn-${Buffer.byteLength(good)}`)).toBe(torn);
  expect(inbox.has('k4')).toBe(false);
  await inbox.append(arrival('k4'));
  expect(await content()).toBe(join(lines));
  const order = files.calls.map(({ name, file }) => `${name} ${file}`);
  expect(order.indexOf(`sync ${FILE}.torn-${Buffer.byteLength(good)}`)).toBeLessThan(
    order.indexOf(`truncate ${FILE}`),
  );
});

test('torn ends at one place are all kept', async () => {
  const good = join(linesOf(entries(1)));
  for (const torn of ['one', 'two']) {
    await put(good + torn);
    await openInbox();
  }
  const saved = `${FILE}.torn-${Buffer.byteLength(good)}`;
  expect([await content(saved), await content(`${saved}-2`)]).toEqual(['one', 'two']);
});

test.each([
  ['a changed character', (line: string) => line.replace('hello', 'Hello')],
  ['a removed line', () => null],
  ['a line that is no JSON', () => 'what?'],
  ['a line that is too long', () => 'x'.repeat(2 * 1024 * 1024)],
  ['a line of an older chain', (line: string) => sealLine(line.slice(0, -18), 7).line],
])(
  '%s with records behind it is told with file and place, and nothing is changed',
  async (_, damage) => {
    const lines = linesOf(entries(4));
    const damaged = damage(lines[2] ?? '');
    const text = join([
      ...lines.slice(0, 2),
      ...(damaged === null ? [] : [damaged]),
      ...lines.slice(3),
    ]);
    await put(text);
    await expect(openInbox()).rejects.toMatchObject({
      code: 'log_corrupt',
      details: { file: folder(FILE), offset: Buffer.byteLength(join(lines.slice(0, 2))) },
    });
    expect(await content()).toBe(text);
    expect(await readdir(folder())).toEqual([FILE]);
  },
);

test.each([
  ['a gap in the numbers', [entry(1), entry(3), entry(4)]],
  ['a number twice', [entry(1), entry(1), entry(2)]],
  ['a key behind its entry', [entry(1), keyOnly(1, 'k'), entry(2)]],
  ['a record of no known kind', [entry(1), '{"n":2,"what":1', entry(3)]],
])('%s is damage, though the CRCs are right', async (_, bodies) => {
  await put(join(linesOf(bodies)));
  await expect(openInbox()).rejects.toMatchObject({ code: 'log_corrupt' });
});

test('an entry whose event is none is damage, unless it was handed over', async () => {
  const bad =
    '{"n":1,"key":"k1","at":"2026-11-21T12:00:00.000Z","disposition":"turn","event":{"type":"pong"}';
  await put(join(linesOf([bad, entry(2)])));
  await expect(openInbox()).rejects.toMatchObject({ code: 'log_corrupt' });
  await put(join(linesOf([bad, entry(2), otherBody({ mark: 1 })])));
  expect((await openInbox()).unhanded.map(({ n }) => n)).toEqual([2]);
});

test.each([
  ['nothing', ''],
  ['a cut header', encodeHeader(NAME).line.slice(0, 40)],
  ['a header without its LF', encodeHeader(NAME).line],
])('%s is an inbox whose making was cut short', async (_, text) => {
  await put(text);
  const { inbox, unhanded } = await openInbox();
  expect(unhanded).toEqual([]);
  await inbox.append(arrival('k1'));
  expect(await content()).toBe(join(linesOf(entries(1))));
  expect(await readdir(folder())).toEqual([FILE]);
});

test('a damaged header with nothing behind it is saved, and written again', async () => {
  await put('rubbish\n');
  const { inbox } = await openInbox();
  await inbox.append(arrival('k1'));
  expect(await content()).toBe(join(linesOf(entries(1))));
  expect(await content(`${FILE}.torn-0`)).toBe('rubbish\n');
});

test.each([
  ['damaged', 'rubbish'],
  ['missing', null],
  ['of another gateway', encodeHeader('discord').line],
])('a header that is %s, before records, is damage', async (_, header) => {
  const [own = '', ...rest] = linesOf(entries(2));
  await put(join(header === null ? rest : [header, ...rest]));
  await expect(openInbox()).rejects.toMatchObject({ code: 'log_corrupt', details: { offset: 0 } });
  expect(own).toContain(NAME);
});

test('an inbox of a newer version is refused and not changed', async () => {
  const text = '{"duragent_inbox":2,"sum":"sha"}\nanything\n';
  await put(text);
  await expect(openInbox()).rejects.toMatchObject({ code: 'log_newer', details: { version: 2 } });
  expect(await content()).toBe(text);
});

test('a file that was written anew may begin late, and end with what was handed over', async () => {
  const bodies = [
    keyOnly(500, 'old'),
    keyOnly(502, 'newer'),
    otherBody({ mark: 510 }),
    entryBody(511, encodeEntry(blocked('b'))),
    otherBody({ cursor: { offset: 9 } }),
  ];
  await put(join(linesOf(bodies, encodeHeader(NAME, 500, 0xabcdef))));
  const { inbox, unhanded } = await openInbox();
  expect(unhanded).toEqual([{ n: 511, ...blocked('b') }]);
  expect([inbox.has('old'), inbox.has('newer'), inbox.cursor]).toEqual([true, true, { offset: 9 }]);
  expect((await inbox.append(arrival('k')))?.n).toBe(512);
});

test('what a crash left of a file that was being written anew is removed', async () => {
  await put(join(linesOf(entries(2))));
  await writeFile(folder(`${FILE}.tmp`), 'half');
  expect((await openInbox()).unhanded).toHaveLength(2);
  expect(await readdir(folder())).toEqual([FILE]);
});

test('links are not followed, neither of the file nor of the folder', async () => {
  const elsewhere = path.join(root, 'elsewhere');
  await writeFile(elsewhere, 'precious');
  await symlink(elsewhere, folder(FILE));
  await expect(openInbox()).rejects.toMatchObject({ code: 'storage_failed' });
  expect(await readFile(elsewhere, 'utf8')).toBe('precious');
  await rm(folder(), { recursive: true });
  await mkdir(path.join(root, 'other'));
  await symlink(path.join(root, 'other'), path.join(root, NAME));
  await expect(openInbox()).rejects.toMatchObject({ code: 'storage_failed' });
  expect(await readdir(path.join(root, 'other'))).toEqual([]);
});

test('what a killed process wrote and did not sync is synced before it is given out', async () => {
  await put(join(linesOf(entries(2))));
  expect((await openInbox()).unhanded).toHaveLength(2);
  expect([files.count('sync', FILE), files.count('sync', NAME)]).toEqual([1, 1]);
  expect((await stat(folder(FILE))).size).toBe(Buffer.byteLength(join(linesOf(entries(2)))));
  expect(crcOfLine(encodeHeader(NAME).line)).toBe(encodeHeader(NAME).crc);
});
