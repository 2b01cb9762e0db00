import { createHash } from 'node:crypto';
import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAX_MADE_ARTIFACT_BYTES, type ArtifactRef, type ArtifactStore } from './artifact-store.ts';

/** What artifacts are kept in, and stores over it. */
export interface ArtifactHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): ArtifactStore;
  /** A gateway's folder for media. */
  root: string;
  /** Puts a file below it, as a gateway does. @returns its absolute path. */
  put(name: string, bytes: string | Uint8Array): Promise<string>;
  /** Whether there is a file at a path. */
  exists(path: string): Promise<boolean>;
  read(path: string): Promise<Buffer>;
  dispose(): Promise<void>;
}

/** Ids of two artifacts, for tests. */
export const ART = 'art_01ab2cd3ef4gh5jk6mn7pq8rst';
const OTHER = 'art_01ab2cd3ef4gh5jk6mn7pq8rsv';

/** What a gateway says of a file, for tests. */
export function metaOf(bytes: string | Uint8Array, id = ART): ArtifactRef {
  const content = Buffer.from(bytes);
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { id, name: 'Käse 🧀.png', mime: 'image/png', size: content.length, sha256 };
}

const OWNER = { agent: 'helper', session: 'session_01ab2cd3ef4gh5jk6mn7pq8rst' };

/** What is said of a file that an agent makes. */
function made(change: Partial<Parameters<ArtifactStore['put']>[1]> = {}) {
  return { id: ART, name: 'a.txt', mime: 'text/plain', owner: OWNER, ...change };
}

function refusal(code: string): unknown {
  return expect.objectContaining({ code, constructor: DuragentError });
}

/** What every `ArtifactStore` promises. */
export function artifactStoreContract(
  name: string,
  makeHarness: () => Promise<ArtifactHarness>,
): void {
  describe(name, () => {
    let harness: ArtifactHarness;
    let store: ArtifactStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(() => harness.dispose());

    test('removes what is not kept, and only below the folder', async () => {
      const { open, put, exists, root } = harness;
      const store = open();
      const file = await put('unwanted.txt', 'a');
      await store.discard({ path: 'unwanted.txt', root });
      expect(await exists(file)).toBe(false);
      await store.discard({ path: 'unwanted.txt', root });
      await expect(store.discard({ path: '../x', root })).rejects.toEqual(
        refusal('invalid_request'),
      );
      const left = await put('left.txt', 'b');
      const awaited = await put('awaited.txt', 'c');
      await store.sweep(root, ['awaited.txt']);
      expect(await exists(left)).toBe(false);
      expect(await exists(awaited)).toBe(true);
    });

    test('a file is taken over, and is there after a restart', async () => {
      const bytes = Buffer.alloc(700_000, 'duragent');
      const path = await harness.put('a.png', bytes);
      const ref = await store.take({ path, root: harness.root }, metaOf(bytes));
      expect(ref).toEqual(metaOf(bytes));
      expect(await harness.exists(path)).toBe(false);
      for (const each of [store, harness.open()]) {
        const found = await each.get(ART);
        expect(found?.ref).toEqual(ref);
        expect(await harness.read(found?.path ?? '')).toEqual(bytes);
      }
    });

    test('a path may be relative to the folder for media, and below it', async () => {
      await harness.put('deep/er/a.png', 'abc');
      const from = { path: 'deep/er/../er/a.png', root: harness.root };
      expect(await store.take(from, metaOf('abc'))).toEqual(metaOf('abc'));
    });

    test('an empty file is one', async () => {
      const path = await harness.put('empty', '');
      await store.take({ path, root: harness.root }, metaOf(''));
      expect((await store.get(ART))?.ref.size).toBe(0);
    });

    test('taking it again is harmless, also when the file is gone', async () => {
      const path = await harness.put('a.png', 'abc');
      const from = { path, root: harness.root };
      const calls = [1, 2, 3].map(() => store.take(from, metaOf('abc')));
      expect(await Promise.all(calls)).toEqual([1, 2, 3].map(() => metaOf('abc')));
      expect(await harness.open().take(from, metaOf('abc'))).toEqual(metaOf('abc'));
    });

    test('an id stands for one file', async () => {
      const from = { path: await harness.put('a', 'abc'), root: harness.root };
      await store.take(from, metaOf('abc'));
      await harness.put('a', 'abd');
      await expect(store.take(from, metaOf('abd'))).rejects.toEqual(refusal('invalid_request'));
      expect(await harness.read((await store.get(ART))?.path ?? '')).toEqual(Buffer.from('abc'));
      expect((await store.take(from, metaOf('abd', OTHER))).id).toBe(OTHER);
    });

    test.each([
      ['another SHA-256', { sha256: '0'.repeat(64) }],
      ['fewer bytes', { size: 4 }],
      ['more bytes', { size: 2 }],
    ])('a file that has %s than was said is not taken, and stays', async (_, wrong) => {
      const path = await harness.put('a', 'abc');
      const from = { path, root: harness.root };
      const taken = store.take(from, { ...metaOf('abc'), ...wrong });
      await expect(taken).rejects.toEqual(refusal('invalid_request'));
      expect(await store.get(ART)).toBeNull();
      expect(await harness.exists(path)).toBe(true);
      await store.take(from, metaOf('abc'));
    });

    test.each([
      ['that is missing', 'missing'],
      ['in a folder that is missing', 'missing/a'],
      ['below a file', 'a/b'],
      ['that is a folder', 'folder'],
      ['that is the folder for media', '.'],
      ['without a name', ''],
      ['outside', '../outside'],
      ['outside, by a way through the folder', 'folder/../../outside'],
      ['outside, by its absolute path', '/etc/hostname'],
      ['with a NUL', 'a\0'],
      ['with an endless name', 'x'.repeat(5000)],
    ])('a file %s is not taken', async (_, path) => {
      await harness.put('a', 'abc');
      await harness.put('folder/b', 'abc');
      await harness.put('../outside', 'abc');
      const taken = store.take({ path, root: harness.root }, metaOf('abc'));
      await expect(taken).rejects.toEqual(refusal('invalid_request'));
      expect(await store.get(ART)).toBeNull();
    });

    test.each(['', '.', '..', '../x', 'art_', ART.toUpperCase(), `${ART}x`, `${ART}/`, `x/${ART}`])(
      'the id %j is no id',
      async (id) => {
        const path = await harness.put('a', 'abc');
        const taken = store.take({ path, root: harness.root }, metaOf('abc', id));
        await expect(taken).rejects.toEqual(refusal('invalid_request'));
        expect(await store.get(id)).toBeNull();
        expect(await harness.exists(path)).toBe(true);
      },
    );

    test('an unknown id has none', async () => {
      expect(await store.get(OTHER)).toBeNull();
      expect(await store.read(OTHER, 0, 10)).toBeNull();
      expect(await store.read('../x', 0, 10)).toBeNull();
    });

    test('a file that an agent made is kept, with its owner, and is there after a restart', async () => {
      const pieces = ['Käse ', '', '🧀'].map((text) => Buffer.from(text));
      const ref = await store.put(pieces, made());
      expect(ref).toEqual({ ...metaOf('Käse 🧀'), name: 'a.txt', mime: 'text/plain' });
      for (const each of [store, harness.open()]) {
        const found = await each.get(ART);
        expect([found?.ref, found?.owner]).toEqual([ref, OWNER]);
        expect(await harness.read(found?.path ?? '')).toEqual(Buffer.from('Käse 🧀'));
        expect(await each.list(OWNER.session, 10)).toEqual([ref]);
      }
    });

    test('a part of a file is read', async () => {
      await store.put([Buffer.from('abcdef')], made());
      const read = async (offset: number, length: number) =>
        Buffer.from((await store.read(ART, offset, length)) ?? 'none').toString();
      expect(await read(0, 100)).toBe('abcdef');
      expect(await read(2, 3)).toBe('cde');
      expect(await read(6, 3)).toBe('');
      expect(await read(100, 3)).toBe('');
    });

    test('making it again is harmless, and another file is not made under its id', async () => {
      const content = () => [Buffer.from('abc')];
      const all = await Promise.all([1, 2].map(() => store.put(content(), made())));
      expect(await harness.open().put(content(), made({ name: 'other' }))).toEqual(all[0]);
      const other = store.put([Buffer.from('abd')], made());
      await expect(other).rejects.toEqual(refusal('invalid_request'));
      expect(Buffer.from((await store.read(ART, 0, 9)) ?? '').toString()).toBe('abc');
      expect(await store.list(OWNER.session, 10)).toEqual([all[0]]);
    });

    test('what came through a gateway has no owner, and is in no list', async () => {
      const path = await harness.put('a', 'abc');
      await store.take({ path, root: harness.root }, metaOf('abc'));
      expect(await store.get(ART)).not.toHaveProperty('owner');
      expect(await store.list(OWNER.session, 10)).toEqual([]);
    });

    test('lists what was made in a session, newest first, and no more than was asked for', async () => {
      const ids = ['5', '1', '9', '3'].map((end) => ART.replace(/.$/, end));
      for (const id of ids) await store.put([Buffer.from(id)], made({ id }));
      const session = OWNER.session.replace(/.$/, 'v');
      await store.put([], made({ id: OTHER, owner: { agent: 'other', session } }));
      const listed = async (limit: number) =>
        (await harness.open().list(OWNER.session, limit)).map(({ id }) => id.at(-1));
      expect(await listed(10)).toEqual(['9', '5', '3', '1']);
      expect(await listed(2)).toEqual(['9', '5']);
      expect((await store.list(session, 10)).map(({ id }) => id)).toEqual([OTHER]);
      expect(await store.list('../..', 10)).toEqual([]);
    });

    test('content that fails, or is too large, is not kept', async () => {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('abc');
        throw new TypeError('no more');
      };
      await expect(store.put(failing(), made())).rejects.toThrow(TypeError);
      const piece = Buffer.alloc(1024 * 1024);
      const endless = function* (): Generator<Uint8Array> {
        for (let size = 0; size <= MAX_MADE_ARTIFACT_BYTES; size += piece.length) yield piece;
      };
      const tooLarge = store.put(endless(), made());
      await expect(tooLarge).rejects.toEqual(refusal('payload_too_large'));
      expect(await store.get(ART)).toBeNull();
      expect(await store.list(OWNER.session, 10)).toEqual([]);
      await store.put([Buffer.from('abc')], made());
      expect((await store.get(ART))?.ref.size).toBe(3);
    });

    test.each([
      ['id', { id: '../x' }],
      ['owner', { owner: { agent: '../x', session: OWNER.session } }],
      ['owner', { owner: { agent: 'a', session: '../x' } }],
      ['name', { name: 'x'.repeat(256) }],
    ])('a file with a bad %s is not made', async (_, wrong) => {
      const put = store.put([], made(wrong));
      await expect(put).rejects.toEqual(refusal('invalid_request'));
    });
  });
}
