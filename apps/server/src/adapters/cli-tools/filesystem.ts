import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { type CliReading, type CliToolFiles, MAX_FOUND_TOOLS } from '../../ports/cli-tools.ts';
import { errorCode, readBytes } from '../files/files.ts';

const MAX_TEXT_BYTES = 64 * 1024;
/** How long what was found holds without looking again. */
const FRESH_MS = 1000;
/** How many folders and programs are remembered. */
const MAX_KNOWN = 1000;
const NAME = /^[A-Za-z0-9][\w-]{0,62}$/;
const README = 'README.md';
const SCHEMA = 'schema.json';
const EXECUTABLE = 0o111;

/** The programs of command line tools in the folders of agents and workspaces. */
export function cliToolFiles(options: { freshMs?: number } = {}): CliToolFiles {
  const { freshMs = FRESH_MS } = options;
  const found = new Remembered<Awaited<ReturnType<CliToolFiles['find']>>>(freshMs);
  const read = new Remembered<CliReading>(freshMs);
  return {
    find: (folder, { fresh = false } = {}) => found.get(folder, fresh, () => findIn(folder)),
    read: (home, command, readme, { fresh = false } = {}) =>
      read.get(JSON.stringify([home, command, readme]), fresh, () =>
        readDeclared(home, command, readme),
      ),
  };
}

/** What was found a moment ago. */
class Remembered<T> {
  readonly #known = new Map<string, { at: number; value: Promise<T> }>();
  readonly #freshMs: number;

  constructor(freshMs: number) {
    this.#freshMs = freshMs;
  }

  get(key: string, fresh: boolean, find: () => Promise<T>): Promise<T> {
    const at = performance.now();
    const known = this.#known.get(key);
    if (known && !fresh && at - known.at < this.#freshMs) return known.value;
    const value = find();
    this.#known.delete(key);
    this.#known.set(key, { at, value });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    return value;
  }
}

async function findIn(folder: string): ReturnType<CliToolFiles['find']> {
  const names = (await entriesOf(folder))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
    .toSorted();
  const tools: { name: string; reading: CliReading }[] = [];
  for (const name of names) {
    const reading = await readTool(path.join(folder, name), name);
    if (reading === null) continue;
    if (tools.length === MAX_FOUND_TOOLS) {
      const reason = `there are more than ${MAX_FOUND_TOOLS} tools, and this one is left out: remove some`;
      tools.push({ name, reading: { ok: false, file: path.join(folder, name), reason } });
      return tools;
    }
    tools.push({ name, reading });
  }
  return tools;
}

/** null: nothing in the folder says that it is a tool. */
async function readTool(folder: string, name: string): Promise<CliReading | null> {
  const candidates = (await entriesOf(folder))
    .filter((entry) => entry.name.startsWith('run') && !entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
  let refused: CliReading | null = null;
  for (const candidate of candidates) {
    const reading = await readProgram({ root: folder, command: candidate, readme: README });
    const isNone = !reading.ok && reading.reason === NOT_EXECUTABLE;
    if (!isNone) return NAME.test(name) ? withReadme(reading, folder) : wrongName(folder);
    refused ??= reading;
  }
  return refused;
}

function wrongName(folder: string): CliReading {
  const reason = 'the name of a tool is 1 to 63 letters, digits, "_" and "-": rename its folder';
  return { ok: false, file: folder, reason };
}

/** What is found is a tool only if someone says what it is for. */
function withReadme(reading: CliReading, folder: string): CliReading {
  if (!reading.ok || reading.program.readme !== null) return reading;
  const reason = 'there is no README.md beside it, so it is no tool: say in one what it is for';
  return { ok: false, file: path.join(folder, README), reason };
}

async function readDeclared(
  home: string,
  command: string,
  readme: string | null,
): Promise<CliReading> {
  const reading = await readProgram({ root: home, command, readme });
  if (!reading.ok || readme === null || reading.program.readme !== null) return reading;
  return { ok: false, file: path.join(home, readme), reason: 'there is no such file' };
}

/** Said of what may lie beside a program, too. */
const NOT_EXECUTABLE = 'it is not executable: run chmod +x on it';

/** A program below `root`, with what lies beside it; `readme` null: the one beside it. */
async function readProgram(asked: {
  root: string;
  command: string;
  readme: string | null;
}): Promise<CliReading> {
  const file = path.join(asked.root, asked.command);
  try {
    const root = await realpath(asked.root);
    const real = await within(root, file);
    const facts = await lstat(real);
    if (!facts.isFile()) return { ok: false, file, reason: 'it is no plain file' };
    if ((facts.mode & EXECUTABLE) === 0) return { ok: false, file, reason: NOT_EXECUTABLE };
    const folder = path.dirname(real);
    const readmeFile =
      asked.readme === null ? path.join(folder, README) : path.join(asked.root, asked.readme);
    const readme = await readText(root, readmeFile);
    const schema = await readText(root, path.join(folder, SCHEMA));
    const stamp = createHash('sha256')
      .update(JSON.stringify([real, stampOf(facts), readme?.text ?? null, schema?.text ?? null]))
      .digest('hex');
    return { ok: true, program: { path: real, folder, readme, schema, stamp } };
  } catch (error) {
    if (error instanceof Unreadable) return { ok: false, file: error.file, reason: error.message };
    return { ok: false, file, reason: reasonOf(error) };
  }
}

class Unreadable extends Error {
  readonly file: string;

  constructor(file: string, reason: string) {
    super(reason);
    this.file = file;
  }
}

/** @throws Unreadable where it leads out of the root. */
async function within(root: string, file: string): Promise<string> {
  const real = await realpath(file);
  if (!real.startsWith(`${root}${path.sep}`)) {
    throw new Unreadable(file, `it leads out of ${root}: put the file itself there`);
  }
  return real;
}

/** A small text; null: there is none. @throws Unreadable */
async function readText(
  root: string,
  file: string,
): Promise<{ file: string; text: string } | null> {
  let handle: FileHandle;
  try {
    const real = await within(root, file);
    // Without O_NONBLOCK, opening a named pipe waits for its writer.
    const how = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    handle = await open(real, how);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error instanceof Unreadable ? error : new Unreadable(file, reasonOf(error));
  }
  try {
    const facts = await handle.stat();
    if (!facts.isFile()) throw new Unreadable(file, 'it is no plain file');
    if (facts.size > MAX_TEXT_BYTES) {
      throw new Unreadable(file, `it is larger than ${MAX_TEXT_BYTES / 1024} KiB: shorten it`);
    }
    const bytes = await readBytes(handle, 0, facts.size);
    return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    throw error instanceof Unreadable ? error : new Unreadable(file, reasonOf(error));
  } finally {
    await handle.close();
  }
}

function reasonOf(error: unknown): string {
  switch (errorCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file';
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return 'it is not UTF-8 text: save it as UTF-8';
    default:
      return `it cannot be read (${error instanceof Error ? error.message : String(error)})`;
  }
}

async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // A folder of tools need not be there, and one that cannot be read has none.
    if (errorCode(error) === undefined) throw error;
    return [];
  }
}

/** Changes with every change of a file, whatever sets its times. */
function stampOf(facts: {
  dev: number;
  ino: number;
  size: number;
  mode: number;
  mtimeMs: number;
  ctimeMs: number;
}): string {
  return [facts.dev, facts.ino, facts.size, facts.mode, facts.mtimeMs, facts.ctimeMs].join(':');
}
