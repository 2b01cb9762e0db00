/** The longest message of an error that is sent to the server, in UTF-16 units. */
export const MAX_MESSAGE_LENGTH = 4000;

/** What went wrong, as the server is told. */
export function messageOf(error: unknown): string {
  return cut(error instanceof Error ? error.message : String(error), MAX_MESSAGE_LENGTH);
}

/** At most `length` UTF-16 units of a text. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

/** Writes an error to the log, which is stderr. */
export function logError(error: unknown): void {
  log(error instanceof Error ? (error.stack ?? error.message) : String(error));
}

/** Writes a line to the log, which is stderr. */
export function log(text: string): void {
  process.stderr.write(`${text}\n`);
}
