import { DuragentError } from '@duragent/protocol';
import { MAX_MEMORY_FILE_BYTES } from '../../ports/memory-store.ts';

/** @throws DuragentError `record_too_large` where a file of memory may not be so long. */
export function checkLength(text: string, file: string): void {
  if (Buffer.byteLength(text) <= MAX_MEMORY_FILE_BYTES) return;
  throw new DuragentError(
    'record_too_large',
    `${file} would be longer than ${MAX_MEMORY_FILE_BYTES / 1024 / 1024} MiB: move a part of it elsewhere.`,
  );
}
