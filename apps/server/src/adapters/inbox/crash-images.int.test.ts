import { constants } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { arrival } from '../../ports/inbox.testing.ts';
import type { InboxEntry } from '../../ports/inbox.ts';
import { nodeFiles, type Files, type OpenFile } from '../files/files.ts';
import { fileInboxStore } from './filesystem.ts';

const NAME = 'telegram';
const FILE = 'inbox.jsonl';

/** What a disk holds for sure, and what it may hold, of the files in one folder. */
interface Disk {
  /** Names as of the last sync of the folder, and as they are. */
  synced: Map<string, number>;
  current: Map<string, number>;
  /** By inode: the content as of its last sync, and as it is. */
  contents: Map<number, { synced: Buffer; current: Buffer }>;
}

/** The real file system, which remembers after every change what a power cut could leave. */
class RecordingFiles implements Files {
  readonly disk: Disk = { synced: new Map(), current: new Map(), contents: new Map() };
  readonly #folder: string;
  readonly #changed: () => void;

  constructor(folder: string, changed: () => void) {
    this.#folder = folder;
    this.#changed = changed;
  }

  async open(file: string, flags: number, mode?: number): Promise<OpenFile> {
    const handle = await nodeFiles.open(file, flags, mode);
    if (file === this.#folder) {
      const sync = async (): Promise<void> => {
        await handle.sync();
        this.disk.synced = new Map(this.disk.current);
        this.#changed();
      };
      return wrap(handle, { sync });
    }
    if (path.dirname(file) !== this.#folder) return handle;
    const { ino } = await handle.stat();
    this.disk.current.set(path.basename(file), ino);
    const empty = { synced: Buffer.alloc(0), current: Buffer.alloc(0) };
    // An inode may be used again.
    if ((await handle.stat()).size === 0) this.disk.contents.set(ino, empty);
    const content = this.disk.contents.get(ino) ?? empty;
    const reread = async (): Promise<Buffer> => {
      const { size } = await handle.stat();
      const all = Buffer.alloc(size);
      await handle.read(all, 0, size, 0);
      return all;
    };
    const synced = async (): Promise<void> => {
      const reached = content.current;
      await handle.datasync();
      content.synced = reached;
      this.#changed();
    };
    const isSynced = (flags & constants.O_DSYNC) === constants.O_DSYNC;
    return wrap(handle, {
      write: async (buffer, offset, length, position) => {
        const result = await handle.write(buffer, offset, length, position);
        content.current = await reread();
        this.#changed();
        if (isSynced) {
          content.synced = content.current;
          this.#changed();
        }
        return result;
      },
      truncate: async (length) => {
        await handle.truncate(length);
        content.current = await reread();
      },
      sync: synced,
      datasync: synced,
    });
  }

  async rename(from: string, to: string): Promise<void> {
    await nodeFiles.rename(from, to);
    const { current } = this.disk;
    current.set(path.basename(to), current.get(path.basename(from)) ?? 0);
    current.delete(path.basename(from));
    this.#changed();
  }

  async rm(file: string, options: { recursive?: boolean; force: boolean }): Promise<void> {
    await nodeFiles.rm(file, options);
    this.disk.current.delete(path.basename(file));
  }

  mkdir: Files['mkdir'] = (directory, options) => nodeFiles.mkdir(directory, options);
  readdir: Files['readdir'] = (directory, options) => nodeFiles.readdir(directory, options);
  lstat: Files['lstat'] = (file) => nodeFiles.lstat(file);
}

function wrap(handle: OpenFile, own: Partial<OpenFile>): OpenFile {
  return {
    read: (buffer, offset, length, position) => handle.read(buffer, offset, length, position),
    write: (buffer, offset, length, position) => handle.write(buffer, offset, length, position),
    datasync: () => handle.datasync(),
    sync: () => handle.sync(),
    truncate: (length) => handle.truncate(length),
    stat: () => handle.stat(),
    chmod: (mode) => handle.chmod(mode),
    close: () => handle.close(),
    ...own,
  };
}

/** What a power cut could leave: names and contents as synced or as they are, a last write torn. */
function imagesOf({ contents, current, synced }: Disk): Map<string, Buffer>[] {
  return [synced, current].flatMap((names) =>
    [0, 0.4, 1].map((share) => {
      const image = new Map<string, Buffer>();
      for (const [name, ino] of names) {
        const content = contents.get(ino);
        if (content === undefined) continue;
        const from = content.synced.length;
        const reached = from + Math.floor((content.current.length - from) * share);
        // What was cut off may still be there as well.
        image.set(name, reached < from ? content.synced : content.current.subarray(0, reached));
      }
      return image;
    }),
  );
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'duragent-images-'));
});
afterEach(() => rm(root, { recursive: true }));

test('whenever the power goes, what was acknowledged is there, in order and once', async () => {
  const live = path.join(root, 'live');
  const acknowledged = new Map<string, number>();
  let marked = 0;
  const states = new Map<string, { image: Map<string, Buffer>; known: string[]; marked: number }>();
  let renames = 0;
  const files: RecordingFiles = new RecordingFiles(path.join(live, NAME), () => {
    for (const image of imagesOf(files.disk)) {
      const known = [...acknowledged.keys()];
      const content = [...image].map(([name, bytes]) => [name, bytes.toString('latin1')]);
      // The more was acknowledged the more is asked of an image.
      states.set(JSON.stringify(content), { image, known, marked });
    }
  });
  const rename = files.rename.bind(files);
  files.rename = (from, to) => {
    renames += 1;
    return rename(from, to);
  };
  const store = fileInboxStore({ dir: live, files, rotateBytes: 1500, onSyncFailure: () => {} });
  const { inbox } = await store.open(NAME);
  for (let at = 0; at < 72; at += 3) {
    const keys = [at, at + 1, at + 2].map((each) => `k${each}`);
    await Promise.all(
      keys.map(async (key) => {
        acknowledged.set(key, (await inbox.append(arrival(key)))?.n ?? 0);
      }),
    );
    if (at % 9 === 0) inbox.mark((marked = at));
  }
  await inbox.close();
  expect(renames).toBeGreaterThan(1);
  expect(states.size).toBeGreaterThan(40);

  for (const { image, known, marked: most } of states.values()) {
    const dir = path.join(root, 'image');
    await rm(dir, { recursive: true, force: true });
    await mkdir(path.join(dir, NAME), { recursive: true });
    for (const [name, bytes] of image) await writeFile(path.join(dir, NAME, name), bytes);
    const opened = await fileInboxStore({ dir, onSyncFailure: () => {} }).open(NAME);
    expect(known.filter((key) => !opened.inbox.has(key))).toEqual([]);
    const found = opened.unhanded.map(({ n }: InboxEntry) => n);
    expect(found).toEqual(found.map((_, index) => (found[0] ?? 0) + index));
    const owed = known.map((key) => acknowledged.get(key) ?? 0).filter((n) => n > most);
    expect(found).toEqual(expect.arrayContaining(owed));
    await opened.inbox.append(arrival('one more'));
    await opened.inbox.close();
  }
  expect((await stat(path.join(live, NAME, FILE))).mode & 0o777).toBe(0o600);
  expect(
    (await readFile(path.join(live, NAME, FILE), 'utf8')).startsWith('{"duragent_inbox"'),
  ).toBe(true);
});
