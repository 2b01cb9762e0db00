import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAX_MEMORY_FILE_BYTES, type MemoryFile, type MemoryStore } from './memory-store.ts';

/** What memory is kept in, and stores over it. */
export interface MemoryHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): MemoryStore;
  /** Writes a file as a person does with an editor. */
  edit(file: MemoryFile, text: string): Promise<void>;
  dispose(): Promise<void>;
}

/** A session of which the harness knows, for tests. */
export const SESSION = 'session_01ab2cd3ef4gh5jk6mn7pq8rst';

export const memoryFiles: MemoryFile[] = [
  { kind: 'day', day: '2026-11-20' },
  { kind: 'world', topic: 'office' },
  { kind: 'curated', agent: 'helper' },
  { kind: 'session', session: SESSION },
];

function refusal(code: string): unknown {
  return expect.objectContaining({ code, constructor: DuragentError });
}

/** What every `MemoryStore` promises. */
export function memoryStoreContract(name: string, makeHarness: () => Promise<MemoryHarness>): void {
  describe(name, () => {
    let harness: MemoryHarness;
    let store: MemoryStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(() => harness.dispose());

    test.each(memoryFiles)(
      'a file ($kind) is made, changed, and there after a restart',
      async (file) => {
        expect(await store.read(file)).toBeNull();
        await store.update(file, (text) => `${text ?? 'new'} Käse 🧀`);
        await store.update(file, (text) => `${text ?? 'lost'}\n`);
        expect(await store.read(file)).toBe('new Käse 🧀\n');
        expect(await harness.open().read(file)).toBe('new Käse 🧀\n');
      },
    );

    test.each(memoryFiles)(
      "a person's edit ($kind) is what is read next, and what is changed next",
      async (file) => {
        await store.update(file, () => 'first');
        await harness.edit(file, 'by hand');
        expect(await store.read(file)).toBe('by hand');
        await harness.edit(file, 'by Hand');
        await store.update(file, (text) => `${text ?? ''}!`);
        expect(await store.read(file)).toBe('by Hand!');
      },
    );

    test('no change is lost among many at once', async () => {
      const file: MemoryFile = { kind: 'day', day: '2026-11-20' };
      const numbers = Array.from({ length: 20 }, (_, n) => n);
      await Promise.all(numbers.map((n) => store.update(file, (text) => `${text ?? ''}${n}\n`)));
      expect((await store.read(file))?.split('\n')).toEqual([...numbers.map(String), '']);
    });

    test('what a change throws is passed on, changes nothing, and the next one is made', async () => {
      const [file] = memoryFiles;
      if (!file) throw new Error('no file');
      await store.update(file, () => 'kept');
      const failed = store.update(file, () => {
        throw new TypeError('no');
      });
      const next = store.update(file, (text) => `${text ?? ''}, too`);
      await expect(failed).rejects.toThrow(TypeError);
      await next;
      expect(await store.read(file)).toBe('kept, too');
    });

    test('files are apart from each other', async () => {
      for (const file of memoryFiles) await store.update(file, () => file.kind);
      for (const file of memoryFiles) expect(await store.read(file)).toBe(file.kind);
      expect(await store.read({ kind: 'curated', agent: 'other' })).toBeNull();
      expect(await store.read({ kind: 'world', topic: 'helper' })).toBeNull();
    });

    test('lists the days newest first, and the topics by name', async () => {
      expect([await store.days(), await store.topics()]).toEqual([[], []]);
      for (const day of ['2026-11-09', '2026-12-01', '2025-12-31']) {
        await store.update({ kind: 'day', day }, () => day);
      }
      for (const topic of ['team', 'office', '0']) {
        await store.update({ kind: 'world', topic }, () => topic);
      }
      await store.update({ kind: 'curated', agent: 'helper' }, () => 'x');
      expect(await harness.open().days()).toEqual(['2026-12-01', '2026-11-09', '2025-12-31']);
      expect(await harness.open().topics()).toEqual(['0', 'office', 'team']);
    });

    test('a file that would be too long is not written', async () => {
      const file: MemoryFile = { kind: 'day', day: '2026-11-20' };
      await store.update(file, () => 'short');
      const long = 'ä'.repeat(MAX_MEMORY_FILE_BYTES / 2);
      await expect(store.update(file, () => `${long}!`)).rejects.toEqual(
        refusal('record_too_large'),
      );
      expect(await store.read(file)).toBe('short');
      await store.update(file, () => long);
      expect((await store.read(file))?.length).toBe(long.length);
    });

    const bad = [
      '',
      '.',
      '..',
      '../x',
      'a/b',
      'A',
      '-a',
      'a'.repeat(64),
      'a\0',
      'a.md',
      '/etc/hostname',
    ];
    test.each(bad)('%j names no file', async (word) => {
      const files: MemoryFile[] = [
        { kind: 'day', day: word },
        { kind: 'world', topic: word },
        { kind: 'curated', agent: word },
        { kind: 'session', session: word },
      ];
      for (const file of files) {
        await expect(store.read(file)).rejects.toEqual(refusal('invalid_request'));
        await expect(store.update(file, () => 'x')).rejects.toEqual(refusal('invalid_request'));
      }
    });

    test.each(['2026-13-01', '2026-02-30', '2026-2-3', '2026-11-20x'])(
      '%s is no day',
      async (day) => {
        await expect(store.read({ kind: 'day', day })).rejects.toEqual(refusal('invalid_request'));
      },
    );
  });
}
