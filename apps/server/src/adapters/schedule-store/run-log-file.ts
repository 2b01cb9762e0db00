import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import type { RunLogState, RunRecord, ScheduleRules } from '../../ports/schedule-store.ts';
import {
  afterFailure,
  errorCode,
  flags,
  replaceFile,
  withFile,
  writeAll,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { readLines, type RawLine } from '../files/line-reader.ts';
import { cutTornEnd } from '../files/torn-end.ts';
import { decodeHeader, decodeRecord, encodeHeader, encodeRecord, isRecord } from './run-record.ts';

/** From so many records on the file is written anew, with the newest half of them. */
const MOST_RECORDS = 2000;
const KEPT_RECORDS = 1000;

/** What is known of the file while nobody else writes it. */
interface Known {
  state: RunLogState;
  records: number;
  /** null: there is no file. */
  end: { offset: number; crc: number } | null;
}

interface Content {
  base: RunLogState;
  records: RunRecord[];
  end: { offset: number; crc: number } | null;
}

/**
 * The run log of one schedule: JSON lines with a chain of CRCs, the first of which holds what the
 * records that were dropped said. It is open only while it is used. Calls must not overlap.
 */
export class RunLogFile {
  readonly #files: Files;
  readonly #path: string;
  readonly #id: string;
  readonly #rules: ScheduleRules;
  #known: Known | null = null;
  /** Set when what the disk holds is not known: then all of it is written anew, to another file. */
  #isDoubtful = false;

  constructor(files: Files, file: string, id: string, rules: ScheduleRules) {
    this.#files = files;
    this.#path = file;
    this.#id = id;
    this.#rules = rules;
  }

  /** What it says. @throws DuragentError log_corrupt, log_newer */
  async state(): Promise<RunLogState> {
    return (await this.#learn()).state;
  }

  /** The newest records, oldest first. */
  async records(limit: number): Promise<RunRecord[]> {
    return (await this.#read()).records.slice(-limit);
  }

  /** Adds a record, durably. */
  async append(record: RunRecord): Promise<RunLogState> {
    const known = await this.#learn();
    const { end } = known;
    if (end === null || this.#isDoubtful || known.records >= MOST_RECORDS) {
      return this.#rewrite(record);
    }
    const { line, crc } = encodeRecord(record, end.crc);
    const bytes = Buffer.from(`${line}\n`);
    // Until it is known to be there, nothing is known.
    this.#known = null;
    try {
      await withFile(this.#files, this.#path, flags.update, async (file) => {
        try {
          await writeAll(file, bytes, end.offset);
          await file.datasync();
        } catch (error) {
          throw await afterFailure(error, () => file.truncate(end.offset));
        }
      });
    } catch (error) {
      this.#isDoubtful = true;
      throw error;
    }
    const state = this.#rules.fold(known.state, record);
    const offset = end.offset + bytes.length;
    this.#known = { state, records: known.records + 1, end: { offset, crc } };
    return state;
  }

  async #learn(): Promise<Known> {
    if (this.#known === null) {
      const { base, end, records } = await this.#read();
      const state = records.reduce(this.#rules.fold, base);
      this.#known = { state, records: records.length, end };
    }
    return this.#known;
  }

  /** Replaces the file by one that is as it was, without the older half if it is long, and has one record more. */
  async #rewrite(record: RunRecord): Promise<RunLogState> {
    const { base, records } = await this.#read();
    const isLong = records.length >= MOST_RECORDS;
    const dropped = isLong ? records.length - KEPT_RECORDS : 0;
    const from = records.slice(0, dropped).reduce(this.#rules.fold, base);
    const kept = [...records.slice(dropped), record];
    let { crc, line } = encodeHeader(this.#id, from);
    let text = `${line}\n`;
    for (const each of kept) {
      ({ crc, line } = encodeRecord(each, crc));
      text += `${line}\n`;
    }
    this.#known = null;
    // If this fails, which of the two is there does not matter: both say the same but for the record.
    await replaceFile(this.#files, this.#path, text);
    this.#isDoubtful = false;
    const state = kept.reduce(this.#rules.fold, from);
    const end = { offset: Buffer.byteLength(text), crc };
    this.#known = { state, records: kept.length, end };
    return state;
  }

  /** Reads all of it, and cuts off a torn end. */
  async #read(): Promise<Content> {
    try {
      return await withFile(this.#files, this.#path, flags.update, (file) => this.#examine(file));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') {
        return { base: this.#rules.empty, records: [], end: null };
      }
      if (errorCode(error) === 'ELOOP') throw this.#corrupt(0, 'it is a symbolic link');
      throw error;
    }
  }

  async #examine(file: OpenFile): Promise<Content> {
    const { size } = await file.stat();
    const lines: RawLine[] = [];
    for await (const group of readLines(file, 0, size)) {
      // The next group is read to the same bytes.
      for (const line of group)
        lines.push({ ...line, bytes: line.bytes && Buffer.from(line.bytes) });
    }
    const [first, ...rest] = lines;
    const header = decodeHeader(first?.complete ? first.bytes : null, this.#id);
    if (header.kind === 'newer') {
      throw new DuragentError(
        'log_newer',
        `${this.#path} has version ${header.version}, which this version of Duragent does not read: use the newer one.`,
        { details: { version: header.version } },
      );
    }
    if (header.kind === 'damaged') throw this.#corrupt(0, header.reason);
    const records: RunRecord[] = [];
    let { crc } = header;
    for (const [index, line] of rest.entries()) {
      const decoded = line.complete
        ? decodeRecord(line.bytes, crc)
        : { ok: false as const, reason: 'the last line is cut' };
      if (decoded.ok) {
        records.push(decoded.record);
        crc = decoded.crc;
        continue;
      }
      if (rest.slice(index + 1).some(({ bytes }) => isRecord(bytes))) {
        throw this.#corrupt(line.offset, decoded.reason);
      }
      const where = { directory: path.dirname(this.#path), name: path.basename(this.#path) };
      await cutTornEnd(this.#files, where, file, line.offset, size);
      await file.sync();
      return { base: header.base, records, end: { offset: line.offset, crc } };
    }
    return { base: header.base, records, end: { offset: size, crc } };
  }

  #corrupt(offset: number, reason: string): DuragentError {
    return new DuragentError(
      'log_corrupt',
      `${this.#path} is damaged at byte ${offset}: ${reason}. Restore it from a backup, or move it away: then the schedule begins anew, and what it missed is not made up for.`,
      { details: { file: this.#path, offset, reason } },
    );
  }
}
