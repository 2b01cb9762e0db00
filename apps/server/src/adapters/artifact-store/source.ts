import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import {
  afterFailure,
  errorCode,
  flags,
  openAnew,
  readBytes,
  writeAll,
  type FileFacts,
  type Files,
  type OpenFile,
} from '../files/files.ts';

const PIECE = 256 * 1024;

/** What was said of a file. */
export interface Said {
  size: number;
  sha256: string;
}

/** A plain file of a gateway, open, so that what is checked is what is taken. */
export interface Source extends AsyncDisposable {
  handle: OpenFile;
  /** As it was when it was opened. */
  facts: FileFacts;
  /** Where it is, without links in between. */
  path: string;
  /** As the gateway named it. */
  name: string;
  /** Reads it all. @throws DuragentError `invalid_request` where it is not what was said. */
  check(said: Said): Promise<void>;
}

/**
 * Opens a file that a gateway named.
 * @throws DuragentError `invalid_request` where it is missing, no plain file, reached through a
 *   link, or outside of `root`.
 */
export async function openSource(
  files: Files,
  from: { path: string; root: string },
): Promise<Source> {
  const name = JSON.stringify(from.path.slice(0, 300));
  let handle: OpenFile;
  let file: string;
  try {
    file = await locate(from, name);
    handle = await files.open(file, flags.readAny);
  } catch (error) {
    throw refusalOf(error, name) ?? error;
  }
  try {
    const facts = await handle.stat();
    if (!facts.isFile()) throw refusal(`${name} is no plain file`);
    return {
      handle,
      facts,
      path: file,
      name,
      check: (said) => readThrough(handle, said, name, async () => {}),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    throw await afterFailure(error, () => handle.close());
  }
}

/** Copies a source to a new file, durably, and checks it on the way. */
export async function copyFile(
  files: Files,
  source: Source,
  to: string,
  said: Said,
): Promise<void> {
  const copy = await openAnew(files, to);
  try {
    await readThrough(source.handle, said, source.name, (piece, at) => writeAll(copy, piece, at));
    await copy.sync();
  } catch (error) {
    throw await afterFailure(error, () => copy.close());
  }
  await copy.close();
}

async function readThrough(
  handle: OpenFile,
  said: Said,
  name: string,
  each: (piece: Buffer, at: number) => Promise<void>,
): Promise<void> {
  const hash = createHash('sha256');
  let size = 0;
  // One byte more than was said tells a longer file.
  while (size <= said.size) {
    const piece = await readBytes(handle, size, Math.min(PIECE, said.size + 1 - size));
    if (piece.length === 0) break;
    hash.update(piece);
    await each(piece, size);
    size += piece.length;
  }
  if (size > said.size) throw refusal(`${name} is longer than the ${said.size} bytes it should be`);
  if (size < said.size) throw refusal(`${name} has ${size} bytes instead of ${said.size}`);
  if (hash.digest('hex') !== said.sha256)
    throw refusal(`${name} has another SHA-256 than was said`);
}

async function locate(from: { path: string; root: string }, name: string): Promise<string> {
  if (from.path.includes('\0')) throw refusal(`${name} is no path`);
  const root = await realpath(from.root);
  const inside = insideOf(path.resolve(from.root), from.path) ?? insideOf(root, from.path);
  if (inside === null) throw refusal(`${name} is outside of the folder for media`);
  const parent = path.join(root, path.dirname(inside));
  if ((await realpath(parent)) !== parent) throw refusal(`${name} is reached through a link`);
  return path.join(parent, path.basename(inside));
}

/** A path as it is below a folder; null where it is not. */
function insideOf(folder: string, given: string): string | null {
  const relative = path.relative(folder, path.resolve(folder, given));
  const isOutside =
    relative === '' || relative.split(path.sep)[0] === '..' || path.isAbsolute(relative);
  return isOutside ? null : relative;
}

function refusalOf(error: unknown, name: string): DuragentError | null {
  switch (errorCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return refusal(`${name} does not exist`, error);
    case 'ELOOP':
    case 'EMLINK':
      return refusal(`${name} is a link`);
    case 'ENXIO':
      return refusal(`${name} is no plain file`);
    case 'ENAMETOOLONG':
      return refusal(`${name} is no path`);
    default:
      return null;
  }
}

function refusal(reason: string, cause?: unknown): DuragentError {
  return new DuragentError('invalid_request', `The file is not taken: ${reason}.`, { cause });
}
