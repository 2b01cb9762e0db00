import { mkdtemp, mkdir, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { SessionEvent } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { message, messages, SESSION, summaryOf } from '../../ports/session-store.testing.ts';
import type { OpenedLog, SessionStore } from '../../ports/session-store.ts';
import { FaultyFiles } from '../files/faults.testing.ts';
import { openFileSessionStore } from './filesystem.ts';
import { encodeHeader, encodeRecord } from './record.ts';

let dir: string;
let files: FaultyFiles;
let store: SessionStore;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-opening-'));
  files = new FaultyFiles();
  store = await openFileSessionStore({ dir, files, onSyncFailure: () => undefined });
});
afterEach(async () => {
  await files.closeAll();
  await rm(dir, { recursive: true });
});

const inSession = (name: string) => path.join(dir, SESSION, name);
const logPath = () => inSession('events.jsonl');

/** The lines of a log, header first, without LFs. */
function logLines(events: readonly SessionEvent[]): string[] {
  const header = encodeHeader(SESSION);
  let { crc } = header;
  const lines = [header.line];
  for (const event of events) {
    const encoded = encodeRecord(event, crc);
    lines.push(encoded.record.line);
    crc = encoded.crc;
  }
  return lines;
}
const asText = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');

/** Puts a log there and opens it. */
async function opened(content: string | Buffer): Promise<OpenedLog> {
  await mkdir(path.dirname(logPath()), { recursive: true });
  await writeFile(logPath(), content);
  return store.open(SESSION);
}
const seqs = ({ records }: OpenedLog) => records.map(({ event }) => event.seq);
const savedFiles = async () =>
  (await readdir(path.join(dir, SESSION))).filter((name) => name.includes('torn'));

/** Flips one bit in the middle of a line. */
function flipped(line: string): string {
  const bytes = Buffer.from(line);
  const at = Math.floor(bytes.length / 2);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes.toString();
}

describe('a torn end', () => {
  const lines = logLines(messages(1, 5));
  const good = asText(lines.slice(0, 4));

  test.each<[string, string]>([
    ['half a record', (lines[4] ?? '').slice(0, 40)],
    ['a record without its LF', lines[4] ?? ''],
    ['a flipped bit in the last record', `${flipped(lines[4] ?? '')}\n`],
    ['zeros', '\0'.repeat(5000)],
    ['noise over several lines', 'x\ny\n{"seq":2,"epoch":1}\n{"seq":'],
    ['megabytes without an end', 'z'.repeat(3_000_000)],
  ])('of %s is saved and cut off', async (_, tail) => {
    const found = await opened(good + tail);
    const savedAs = `events.jsonl.torn-${good.length}`;
    expect(found.torn).toEqual({ bytes: tail.length, savedAs });
    expect(found.log.quarantine).toBeNull();
    expect(seqs(found)).toEqual([1, 2, 3]);
    expect(await readFile(inSession(savedAs), 'utf8')).toBe(tail);
    expect(await readFile(logPath(), 'utf8')).toBe(good);
    await found.log.append(messages(4, 5), 3);
    expect(await readFile(logPath(), 'utf8')).toBe(asText(lines));
  });

  test('is saved before it is cut off, and what was saved before is kept', async () => {
    await opened(`${good}first`);
    const order = files.calls.map(({ name, file }) => `${name} ${file}`);
    const savedAs = `events.jsonl.torn-${good.length}`;
    const steps = [
      `write ${savedAs}`,
      `sync ${savedAs}`,
      `sync ${SESSION}`,
      'truncate events.jsonl',
      'sync events.jsonl',
    ].map((step) => order.indexOf(step));
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    expect(steps[0]).toBeGreaterThan(-1);

    store = await openFileSessionStore({ dir, files, onSyncFailure: () => undefined });
    const second = await opened(`${good}second`);
    expect(second.torn).toEqual({ bytes: 6, savedAs: `${savedAs}-2` });
    expect(await savedFiles()).toHaveLength(2);
    expect(await readFile(inSession(savedAs), 'utf8')).toBe('first');
  });
});

describe('damage with good records behind it', () => {
  const lines = logLines(messages(1, 6));
  const bad = (index: number, line: string) => lines.with(index, line);
  const withInner = (events: SessionEvent[]) => logLines(events);
  const noText = { ...message(3), content: 'no list' } as unknown as SessionEvent;

  test.each<[string, string[], RegExp]>([
    ['a flipped bit', bad(3, flipped(lines[3] ?? '')), /CRC/],
    ['a line that is no JSON', bad(3, 'nonsense'), /CRC/],
    ['a line too many', lines.toSpliced(3, 0, ''), /CRC/],
    ['a line too few', lines.toSpliced(3, 1), /CRC/],
    ['a record written twice', lines.toSpliced(3, 0, lines[2] ?? ''), /CRC/],
    ['a gap in seq', withInner([...messages(1, 2), ...messages(4, 6)]), /seq 4 follows 2/],
    [
      'a falling epoch',
      withInner([message(1, 'a', 3), message(2, 'a', 3), ...messages(3, 6)]),
      /epoch 1 follows 3/,
    ],
    [
      'an event that breaks its schema',
      withInner([...messages(1, 2), noText, ...messages(4, 6)]),
      /content/,
    ],
  ])('quarantines the log: %s', async (_, content, reason) => {
    const text = asText(content);
    const found = await opened(text);
    const offset = asText(content.slice(0, 3)).length;
    expect(found.log.quarantine).toEqual({
      file: 'events.jsonl',
      offset,
      reason: expect.stringMatching(reason),
    });
    expect(found.torn).toBeNull();
    expect(seqs(found)).toEqual([1, 2]);
    expect(await found.log.read(0, 100)).toEqual(found.records);
    await expect(found.log.append([message(3)], 2)).rejects.toMatchObject({
      code: 'session_quarantined',
    });
    await expect(found.log.writeSnapshot({}, 2, 1)).rejects.toMatchObject({
      code: 'session_quarantined',
    });
    expect(await readFile(logPath(), 'utf8')).toBe(text);
    await found.log.close(summaryOf(SESSION, 2));
    expect(await store.unclean()).toEqual([SESSION]);
    expect(await savedFiles()).toEqual([]);
  });

  test('a log shorter than its snapshot is quarantined, and nothing is cut off', async () => {
    const log = await store.create(SESSION);
    await log.append(messages(1, 6), 0);
    await log.writeSnapshot({ kept: true }, 6, 5);
    await log.close(summaryOf(SESSION, 6));
    const size = asText(lines.slice(0, 4)).length + 20;
    await truncate(logPath(), size);
    const found = await store.open(SESSION);
    expect(found.log.quarantine).toMatchObject({ offset: size - 20 });
    expect([found.snapshot, found.torn, seqs(found)]).toEqual([null, null, [1, 2, 3]]);
    expect(await readFile(logPath())).toHaveLength(size);
  });

  test('a log that is gone while its snapshot is there is not taken for an empty one', async () => {
    const log = await store.create(SESSION);
    await log.append(messages(1, 6), 0);
    await log.writeSnapshot({ kept: true }, 6, 5);
    await log.close(summaryOf(SESSION, 6));
    await rm(logPath());
    await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'log_corrupt' });
    await store.delete(SESSION);
  });
});

describe('the header', () => {
  const lines = logLines(messages(1, 3));
  const header = lines[0] ?? '';

  test.each([0, 1, 60, header.length])(
    'of which a crash left %i bytes is written again',
    async (length) => {
      const found = await opened(header.slice(0, length));
      expect([found.torn, found.log.quarantine, found.records]).toEqual([null, null, []]);
      await found.log.append(messages(1, 3), 0);
      expect(await readFile(logPath(), 'utf8')).toBe(asText(lines));
      expect(await savedFiles()).toEqual([]);
    },
  );

  test('that is noise without records is saved and written again', async () => {
    const found = await opened('noise\nmore noise\n');
    expect(found.torn).toEqual({ bytes: 17, savedAs: 'events.jsonl.torn-0' });
    await found.log.append(messages(1, 3), 0);
    expect(await readFile(logPath(), 'utf8')).toBe(asText(lines));
  });

  test.each<[string, string]>([
    ['damaged', flipped(header)],
    ['missing', ''],
    ['of another session', encodeHeader(SESSION.replace('01', '02')).line],
  ])('that is %s, with records behind it, quarantines the log at byte 0', async (_, first) => {
    const text = asText([first, ...lines.slice(1)]);
    const found = await opened(text);
    expect(found.log.quarantine).toMatchObject({ file: 'events.jsonl', offset: 0 });
    expect(await found.log.read(0, 10)).toEqual([]);
    expect(await readFile(logPath(), 'utf8')).toBe(text);
  });

  test('of another session is not written over, even without records', async () => {
    const text = asText([encodeHeader(SESSION.replace('01', '02')).line]);
    expect((await opened(text)).log.quarantine).toMatchObject({ offset: 0 });
    expect(await readFile(logPath(), 'utf8')).toBe(text);
  });

  test('of a newer version refuses the log and changes nothing', async () => {
    const text = `{"duragent_log":2,"anything":"else"}\n{"seq":1}\ntorn`;
    await expect(opened(text)).rejects.toMatchObject({ code: 'log_newer' });
    expect(await readFile(logPath(), 'utf8')).toBe(text);
    await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'log_newer' });
  });
});

describe('a long log', () => {
  /** Leaves a closed log with a snapshot near its end. */
  async function longLog(count: number): Promise<void> {
    await mkdir(path.dirname(logPath()), { recursive: true });
    await writeFile(logPath(), asText(logLines(messages(1, count, 'x'))));
    const { log } = await store.open(SESSION);
    await log.writeSnapshot({}, count - 10, count - 50);
    await log.close(summaryOf(SESSION, count));
    files.calls.length = 0;
  }

  test('is opened by reading its tail, and paged by reading a few KiB', async () => {
    const count = 100_000;
    await longLog(count);
    const { log, records, snapshot } = await store.open(SESSION);
    expect(snapshot?.seq).toBe(count - 10);
    expect([records[0]?.event.seq, log.lastSeq]).toEqual([count - 50, count]);
    expect(files.bytesRead('events.jsonl')).toBeLessThan(64 * 1024);

    for (const after of [70_000, 0, 1, 99_990, 33_333]) {
      files.calls.length = 0;
      const page = await log.read(after, 10);
      expect(page.map(({ event }) => event.seq)).toEqual(
        Array.from({ length: 10 }, (_, index) => after + 1 + index),
      );
      expect(files.bytesRead('events.jsonl')).toBeLessThan(256 * 1024);
    }
    files.calls.length = 0;
    await log.read(33_343, 10);
    expect(files.count('read', 'events.jsonl')).toBe(1);
  });

  test('gives an error with file and place where an old record is damaged', async () => {
    const count = 10_000;
    await longLog(count);
    const text = await readFile(logPath());
    const { log } = await store.open(SESSION);
    const line = text.indexOf('{"seq":5000,');
    const file = await open(logPath(), 'r+');
    await file.write('#', line + 100);
    await file.close();
    const damaged = { code: 'log_corrupt', details: { file: 'events.jsonl', offset: line } };
    await expect(log.read(4_990, 20)).rejects.toMatchObject(damaged);
    await expect(log.read(4_999, 1)).rejects.toMatchObject(damaged);
    expect(await log.read(4_000, 10)).toHaveLength(10);
    expect(await log.read(6_000, 10)).toHaveLength(10);
    await log.append([message(count + 1)], count);
  });
});
