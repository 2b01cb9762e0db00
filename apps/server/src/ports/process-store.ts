import type { ProcessRecord } from '../core/processes/process-record.ts';

export type { ProcessRecord } from '../core/processes/process-record.ts';

/** Keeps what is known of background processes. One writer. */
export interface ProcessStore {
  /** All records, oldest first. A broken one hides no other. @throws DuragentError storage_failed. */
  list(): Promise<ProcessRecord[]>;
  /** Keeps a record in the place of the one with its id; durable when resolved. @throws DuragentError storage_full, storage_failed. */
  put(record: ProcessRecord): Promise<void>;
  /** Removes a record and the output of its process; harmless where there is none. @throws DuragentError storage_failed. */
  remove(id: string): Promise<void>;
}
