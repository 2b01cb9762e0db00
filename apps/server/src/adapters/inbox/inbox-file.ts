import { DuragentError, type GatewayLimits } from '@duragent/protocol';
import type { Inbox, InboxEntry } from '../../ports/inbox.ts';
import {
  afterFailure,
  appendDurably,
  storageError,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { sealLine } from '../files/sealed-line.ts';
import type { InboxContent } from './opening.ts';
import { encodeEntry, entryBody, knownLimits, otherBody } from './record.ts';
import { Rewriting, type Place } from './rewriting.ts';

/** What an inbox needs of the store it belongs to. */
export interface InboxHost {
  files: Files;
  /** From this size on a file is written anew, or from twice what was left of it then. */
  rotateBytes: number;
  /** Called when a sync failed: what the disk holds is not known any more. Never rejects. */
  syncFailed(gateway: string, error: DuragentError): Promise<void>;
  /** Called once the file is closed. */
  closed(gateway: string): void;
}

interface Waiting {
  entry: Omit<InboxEntry, 'n'>;
  encoded: string;
  resolve(entry: InboxEntry): void;
  reject(error: DuragentError): void;
}

/** Appends beyond this many characters waiting for the disk are refused. */
const MAX_WAITING = 16 * 1024 * 1024;
/** Appends beyond this many entries that were not handed over are refused. */
export const MAX_UNHANDED = 200_000;
/** What is copied while appends wait is at most about this many bytes. */
const SMALL_TAIL = 256 * 1024;
/** How often the rest is copied beside appends before they have to wait for it. */
const MOST_ROUNDS = 8;

/**
 * A gateway's inbox in one file. In memory are the keys that are remembered and no arrivals: at
 * most 200,000 keys of what was handed over, some 7 MB, and as many of what was not.
 */
export class InboxFile implements Inbox {
  readonly #host: InboxHost;
  readonly #gateway: string;
  readonly #path: string;
  #file: OpenFile;
  /** What is durable; `mark` and `limits` may be ahead of it. */
  readonly #content: InboxContent;
  #end: Place;
  #durableMark: number;
  #durableLimits: GatewayLimits | null;
  #waiting: Waiting[] = [];
  #waitingLength = 0;
  /** Keys on their way, with the end of the append that brings them. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  #flushing: Promise<void> | null = null;
  /** Whether the mark is to be written though nothing is appended. */
  #isFlushAsked = false;
  #rewriting: Promise<void> | null = null;
  /** A new file that only needs what was appended since, to take the old one's place. */
  #rewritten: Rewriting | null = null;
  #rewriteAt: number;
  /** Set when what the disk holds is not known: nothing is written any more. */
  #broken: DuragentError | null = null;
  #closing: Promise<void> | null = null;

  constructor(
    host: InboxHost,
    where: { gateway: string; path: string },
    file: OpenFile,
    content: InboxContent,
    end: Place,
  ) {
    this.#host = host;
    this.#gateway = where.gateway;
    this.#path = where.path;
    this.#file = file;
    this.#content = { ...content };
    this.#end = { ...end };
    this.#durableMark = content.mark;
    this.#durableLimits = content.limits;
    this.#rewriteAt = host.rotateBytes;
  }

  get cursor(): unknown {
    return this.#content.cursor;
  }

  get limits(): GatewayLimits | null {
    return this.#content.limits;
  }

  has(key: string): boolean {
    return this.#content.keys.has(key);
  }

  async append(entry: Omit<InboxEntry, 'n'>): Promise<InboxEntry | null> {
    if (this.#closing) throw this.#error('is closed: open it again');
    if (this.#broken) throw this.#again(this.#broken);
    const { key } = entry;
    if (this.has(key)) return null;
    const first = this.#underWay.get(key);
    if (first) {
      await first;
      return null;
    }
    const encoded = encodeEntry(entry);
    this.#assertRoom(encoded.length);
    this.#waitingLength += encoded.length;
    const durable = new Promise<InboxEntry>((resolve, reject) => {
      this.#waiting.push({ entry: { ...entry }, encoded, resolve, reject });
    });
    this.#underWay.set(key, durable);
    this.#flushing ??= this.#flush();
    return durable;
  }

  #assertRoom(length: number): void {
    const unhanded = this.#content.lastN - this.#content.mark + this.#waiting.length;
    if (unhanded < MAX_UNHANDED && this.#waitingLength + length <= MAX_WAITING) return;
    throw new DuragentError(
      'storage_full',
      `The inbox of ${this.#gateway} takes no more for now: ${unhanded} arrivals wait to be handed over. Try again later.`,
    );
  }

  mark(n: number): void {
    if (this.#closing) return;
    if (!Number.isInteger(n) || n < 0 || n > this.#content.lastN) {
      throw new DuragentError(
        'internal',
        `The inbox of ${this.#gateway} ends at entry ${this.#content.lastN}; ${n} cannot be marked.`,
      );
    }
    this.#content.mark = Math.max(this.#content.mark, n);
  }

  keepLimits(limits: GatewayLimits): void {
    if (this.#closing) return;
    const known = knownLimits(limits);
    if (JSON.stringify(known) === JSON.stringify(this.#content.limits)) return;
    this.#content.limits = known;
  }

  flush(): void {
    if (this.#closing || this.#broken || this.#content.mark <= this.#durableMark) return;
    this.#isFlushAsked = true;
    this.#flushing ??= this.#flush();
  }

  /** Does what waits until nothing does. Never rejects. */
  async #flush(): Promise<void> {
    for (;;) {
      if (this.#rewritten) await this.#replaceFile(this.#rewritten);
      else if (this.#waiting.length > 0 || this.#isFlushAsked) await this.#writeWaiting();
      else break;
    }
    this.#flushing = null;
  }

  /** Writes all that waits as one group. */
  async #writeWaiting(): Promise<void> {
    this.#isFlushAsked = false;
    const group = this.#waiting;
    this.#waiting = [];
    this.#waitingLength = 0;
    const content = this.#content;
    const before = content.lastN;
    try {
      if (this.#broken) throw this.#again(this.#broken);
      await this.#write(group);
    } catch (error) {
      const failure = storageError(error, `Cannot write the inbox of ${this.#gateway}`);
      // What came meanwhile too: its cursors are behind those of what is refused.
      const refused = group.concat(this.#waiting);
      this.#waiting = [];
      this.#waitingLength = 0;
      for (const { entry, reject } of refused) {
        this.#underWay.delete(entry.key);
        reject(failure);
      }
      return;
    }
    group.forEach(({ entry, resolve }, index) => {
      const n = before + 1 + index;
      content.lastN = n;
      content.keys.add(entry.key, n, entry.at, content.mark);
      if (entry.cursor !== undefined) content.cursor = entry.cursor;
      this.#underWay.delete(entry.key);
      resolve({ n, ...entry });
    });
    if (this.#end.offset >= this.#rewriteAt) this.#rewriting ??= this.#rewrite();
  }

  /** Writes the mark and the limits, where they are ahead, and these entries, durably. */
  async #write(group: readonly Waiting[]): Promise<void> {
    const { lastN, limits, mark } = this.#content;
    let { crc } = this.#end;
    let text = '';
    const put = (body: string): void => {
      const sealed = sealLine(body, crc);
      crc = sealed.crc;
      text += `${sealed.line}\n`;
    };
    if (mark > this.#durableMark) put(otherBody({ mark }));
    if (limits !== null && limits !== this.#durableLimits) put(otherBody({ limits }));
    group.forEach(({ encoded }, index) => put(entryBody(lastN + 1 + index, encoded)));
    const bytes = Buffer.from(text);
    const failed = await appendDurably(this.#file, bytes, this.#end.offset);
    if (failed) throw failed.isUnknown ? await this.#break(failed.error) : failed.error;
    this.#end = { offset: this.#end.offset + bytes.length, crc };
    this.#durableMark = mark;
    this.#durableLimits = limits;
  }

  /** What the disk holds is not known any more: nothing is written or synced again. */
  async #break(cause: unknown): Promise<DuragentError> {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#broken = this.#error(`cannot be written: ${reason}. Check the disk`, cause);
    await this.#host.syncFailed(this.#gateway, this.#broken);
    return this.#broken;
  }

  /** Writes the file anew beside appends. Never rejects. */
  async #rewrite(): Promise<void> {
    const rewriting = new Rewriting(this.#host.files, this.#path, this.#file);
    try {
      await rewriting.begin(this.#gateway, { ...this.#content }, this.#end);
      for (let round = 0; round < MOST_ROUNDS; round += 1) {
        if (this.#closing || this.#broken) throw this.#error('is closed');
        await rewriting.copy(this.#end);
        if (this.#end.offset - rewriting.copied <= SMALL_TAIL) break;
      }
      await rewriting.sync();
      this.#rewritten = rewriting;
      this.#flushing ??= this.#flush();
    } catch (error) {
      await this.#giveUp(rewriting, error);
    }
  }

  /** Goes on in the new file, as far as appends have to wait for that. Never rejects. */
  async #replaceFile(rewriting: Rewriting): Promise<void> {
    this.#rewritten = null;
    try {
      if (this.#closing || this.#broken) throw this.#error('is closed');
      await rewriting.copy(this.#end);
      await rewriting.sync();
    } catch (error) {
      await this.#giveUp(rewriting, error);
      return;
    }
    const old = this.#file;
    try {
      this.#file = await rewriting.rename();
      await rewriting.syncDirectory();
    } catch (error) {
      // Which of the two files is in place is not known.
      await this.#break(error);
    }
    this.#end = rewriting.place;
    this.#rewriteAt = Math.max(this.#host.rotateBytes, 2 * this.#end.offset);
    this.#rewriting = null;
    // All that it held is in the new one.
    await Promise.allSettled([old.close()]);
  }

  /** The old file goes on, and is written anew when it has grown by half of what it may. */
  async #giveUp(rewriting: Rewriting, error: unknown): Promise<void> {
    await rewriting.discard();
    this.#rewriteAt = this.#end.offset + Math.ceil(this.#host.rotateBytes / 2);
    this.#rewriting = null;
    // A durable record does not check any more: writing behind it would bury that.
    if (error instanceof DuragentError && error.code === 'log_corrupt') this.#broken ??= error;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    while (this.#flushing ?? this.#rewriting) await (this.#flushing ?? this.#rewriting);
    const { limits, mark } = this.#content;
    const isAhead = mark > this.#durableMark || limits !== this.#durableLimits;
    try {
      try {
        if (isAhead && !this.#broken) await this.#write([]);
      } catch (error) {
        throw await afterFailure(error, () => this.#file.close());
      }
      await this.#file.close();
    } catch (error) {
      throw storageError(error, `Cannot close the inbox of ${this.#gateway}`);
    } finally {
      this.#host.closed(this.#gateway);
    }
  }

  #error(what: string, cause?: unknown): DuragentError {
    const options = cause === undefined ? {} : { cause };
    return new DuragentError('storage_failed', `The inbox of ${this.#gateway} ${what}.`, options);
  }

  #again(error: DuragentError): DuragentError {
    return new DuragentError('storage_failed', error.message, { cause: error });
  }
}
