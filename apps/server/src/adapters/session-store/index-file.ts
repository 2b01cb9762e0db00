import {
  chatAddressSchema,
  chatTypeSchema,
  originSchema,
  queueModeSchema,
  sessionIdSchema,
  usageSchema,
} from '@duragent/protocol';
import { z } from 'zod';
import type { SessionSummary } from '../../core/session/summary.ts';
import { afterFailure, storageError, type Files } from '../files/files.ts';
import { LineFile } from './line-file.ts';

const removedSchema = z.object({ session: sessionIdSchema, removed: z.literal(true) });
const entrySchema = z.looseObject({
  session: sessionIdSchema,
  agent: z.string(),
  labels: z.record(z.string(), z.string()),
  origin: originSchema,
  created_at: z.string(),
  updated_at: z.string(),
  paused_by: z.string().optional(),
  paused: z.boolean(),
  waiting: z.enum(['approval', 'input']).nullable().default(null),
  asked: z.int().min(0).default(0),
  has_work: z.boolean(),
  turns: z.int().min(0),
  usage: usageSchema,
  last_seq: z.int().min(0),
  chats: z.array(
    z.object({
      ...chatAddressSchema.shape,
      since: z.int(),
      chat_type: chatTypeSchema,
      peer: z.string().optional(),
      inbox: z.int().min(0),
      bound: z.boolean(),
    }),
  ),
  settings: z.object({
    queue: queueModeSchema.nullable(),
    activation: z.enum(['mention', 'always']).nullable(),
  }),
  owed: z.int().min(0),
  dead: z.int().min(0),
  size: z.int().min(0),
});

/** Lines that are not worth compiling their schemas for. */
const FEW = 200;
/** Lines beyond two a session that a running server lets gather before it writes the file anew. */
const SPARE_LINES = 1000;

/** What the index keeps of a session that was closed cleanly. */
export interface IndexEntry {
  summary: SessionSummary;
  /** Bytes of its log. */
  size: number;
}

/**
 * The file `index.jsonl`: a cache for listings. The last line of a session counts; a line that
 * cannot be read is skipped, and its session is opened at the next start. It is never synced:
 * what a crash loses of it is found again in the logs.
 */
export class IndexFile {
  /** Sessions closed cleanly and not touched since. */
  readonly entries: Map<string, IndexEntry>;
  readonly #file: LineFile;
  #lines: number;
  #waiting: string[] = [];
  /** The group that takes lines still, and the end of all that were begun. */
  #next: Promise<void> | null = null;
  #last: Promise<void> = Promise.resolve();

  private constructor(file: LineFile, entries: Map<string, IndexEntry>, lines: number) {
    this.#file = file;
    this.entries = entries;
    this.#lines = lines;
  }

  /** Opens the index, without the sessions that `exists` does not know. */
  static async open(
    files: Files,
    path: string,
    exists: (session: string) => boolean,
  ): Promise<IndexFile> {
    const { file, lines } = await LineFile.open(files, path);
    const entries = new Map<string, IndexEntry>();
    for (const [index, line] of lines.entries()) {
      const read = readLine(line, index < FEW);
      if (read === null) continue;
      entries.delete(read.session);
      if (read.entry !== null && exists(read.session)) entries.set(read.session, read.entry);
    }
    const index = new IndexFile(file, entries, lines.length);
    try {
      await index.#compact();
    } catch (error) {
      throw await afterFailure(error, () => file.close());
    }
    return index;
  }

  /** Keeps a session's summary. */
  async add(summary: SessionSummary, size: number): Promise<void> {
    await this.#write(JSON.stringify({ ...summary, size }));
    this.entries.set(summary.session, { summary, size });
  }

  /** Forgets a session: it was deleted, or has to be opened at the next start. */
  async remove(session: string): Promise<void> {
    this.entries.delete(session);
    await this.#write(JSON.stringify({ session, removed: true }));
  }

  async close(): Promise<void> {
    try {
      await this.#last;
      await this.#compact();
    } finally {
      await this.#file.close();
    }
  }

  /** Lines that come while others are written are written together. */
  #write(line: string): Promise<void> {
    this.#waiting.push(line);
    if (this.#next === null) {
      this.#next = this.#last.then(() => this.#writeWaiting());
      // Who waits for this group gets its error; the next group is tried whatever came of it.
      this.#last = this.#next.catch(() => undefined);
    }
    return this.#next;
  }

  async #writeWaiting(): Promise<void> {
    const lines = this.#waiting;
    this.#waiting = [];
    this.#next = null;
    try {
      await this.#file.append(lines);
      this.#lines += lines.length;
      if (this.#lines > 2 * this.entries.size + SPARE_LINES) await this.#compact();
    } catch (error) {
      throw storageError(error, 'Cannot write the index of sessions');
    }
  }

  async #compact(): Promise<void> {
    if (this.#lines <= 2 * this.entries.size) return;
    await this.#file.replace(
      [...this.entries.values()].map(({ summary, size }) => JSON.stringify({ ...summary, size })),
    );
    this.#lines = this.entries.size;
  }
}

function readLine(
  line: string,
  isOneOfFew: boolean,
): { session: string; entry: IndexEntry | null } | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  const entry = entrySchema.safeParse(value, { jitless: isOneOfFew });
  if (entry.success) {
    const { size, ...summary } = entry.data;
    return { session: summary.session, entry: { summary, size } };
  }
  const removed = removedSchema.safeParse(value, { jitless: isOneOfFew });
  return removed.success ? { session: removed.data.session, entry: null } : null;
}
