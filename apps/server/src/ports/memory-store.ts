/** A file of memory. */
export type MemoryFile =
  /** What agents noted on one day, `2026-11-20`. */
  | { kind: 'day'; day: string }
  /** What all agents know of a topic. */
  | { kind: 'world'; topic: string }
  /** What an agent made of its notes: its MEMORY.md. */
  | { kind: 'curated'; agent: string }
  /** The notes of one session. */
  | { kind: 'session'; session: string };

/** How long a file of memory may be, in bytes. */
export const MAX_MEMORY_FILE_BYTES = 8 * 1024 * 1024;

/**
 * Keeps memory as Markdown that people may edit: what is read is what is there now.
 * All throw DuragentError: `invalid_request` for a file that cannot be named so, `storage_failed`
 * where it cannot be read (no UTF-8, no plain file, too long) or written, `storage_full`.
 */
export interface MemoryStore {
  /** @returns null where there is none. */
  read(file: MemoryFile): Promise<string | null>;
  /**
   * Changes a file, or makes it: whole or not at all, and durable when it resolves. Changes of one
   * file are made one after the other.
   * @param change is pure: it is asked again when a person saved the file meanwhile. Where it
   *   returns what is there, nothing is written; what it throws is passed on.
   * @throws DuragentError also `record_too_large` where it would be longer than
   *   `MAX_MEMORY_FILE_BYTES`, `conflict` where others change it all the time, `queue_full`.
   */
  update(file: MemoryFile, change: (text: string | null) => string): Promise<void>;
  /** The days of which there are notes, newest first. */
  days(): Promise<string[]>;
  /** The topics of the world, by name. */
  topics(): Promise<string[]>;
}
