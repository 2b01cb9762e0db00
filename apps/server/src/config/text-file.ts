import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';

/** The largest file that people write which is read, in bytes. */
export const MAX_TEXT_BYTES = 256 * 1024;

export type TextReading =
  | { ok: true; text: string; stamp: string }
  | { ok: false; missing: boolean; reason: string; stamp: string };

/**
 * Reads a UTF-8 text file of at most `MAX_TEXT_BYTES`. What cannot be read is a value that says
 * why; `stamp` is the file's as it was before it was read.
 */
export async function readTextFile(path: string): Promise<TextReading> {
  const stamp = await stampOf(path);
  const fail = (reason: string, missing = false): TextReading => ({
    ok: false,
    missing,
    reason,
    stamp,
  });
  try {
    // Without O_NONBLOCK, opening a named pipe waits for its writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile()) return fail('this is not a regular file');
    if (found.size > MAX_TEXT_BYTES) {
      return fail(`the file is larger than ${MAX_TEXT_BYTES / 1024} KiB; make it smaller`);
    }
    const bytes = await file.readFile();
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { ok: true, text, stamp };
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return fail('there is no such file', true);
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      return fail('the file is not UTF-8 text; save it as UTF-8');
    }
    return fail(`the file cannot be read (${code ?? String(cause)})`);
  }
}

/** A word that changes whenever the file at a path is edited, replaced, made or removed. */
export async function stampOf(path: string): Promise<string> {
  try {
    const found = await stat(path, { bigint: true });
    return [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(':');
  } catch (cause) {
    return errorCode(cause) ?? String(cause);
  }
}

/** The system's code of an error (`ENOENT`), where it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
