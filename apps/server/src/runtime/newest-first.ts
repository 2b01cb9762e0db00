import type { StoredRecord } from '../ports/session-store.ts';

/** Records that are read at once. */
const PAGE = 100;

/** A log that can be read. */
export interface ReadableLog {
  readonly lastSeq: number;
  read(after: number, limit: number): Promise<StoredRecord[]>;
}

/** The durable records of a log from its end to its beginning, a page at a time. @throws as `SessionLog.read` */
export async function* newestFirst(log: ReadableLog): AsyncGenerator<StoredRecord> {
  for (let end = log.lastSeq; end > 0;) {
    const from = Math.max(0, end - PAGE);
    const page: StoredRecord[] = [];
    // Fewer come at once where they are large.
    for (let at = from; at < end;) {
      const records = await log.read(at, end - at);
      const last = records.at(-1)?.event.seq;
      if (last === undefined) break;
      page.push(...records);
      at = last;
    }
    yield* page.reverse();
    end = from;
  }
}
