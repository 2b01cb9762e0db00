import path from 'node:path';
import { agentNameSchema, DuragentError } from '@duragent/protocol';
import { z } from 'zod';
import type { ToolPins } from '../../ports/tool-pins.ts';
import {
  DIRECTORY_MODE,
  errorCode,
  type Files,
  flags,
  nodeFiles,
  readBytes,
  replaceFile,
  storageError,
  withFile,
} from '../files/files.ts';
import { mergePins } from './merge-pins.ts';

export interface FileToolPinsOptions {
  /** The folder of the files, made when it is needed. */
  directory: string;
  /** For tests: the file system. */
  files?: Files;
}

/** 4096 of the longest names and fingerprints. */
const MAX_BYTES = 2 * 1024 * 1024;

/** Pairs, not a map: `__proto__` is a name like any other. */
const fileSchema = z.object({
  version: z.literal(1),
  tools: z.array(z.tuple([z.string().max(200), z.string().max(200)])),
});

/**
 * Pins as one JSON file an agent, `<agent>.json`; deleting it makes all of its tools new. A file
 * that cannot be read is an error and stays: what was accepted is not guessed.
 */
export function fileToolPins({ directory, files = nodeFiles }: FileToolPinsOptions): ToolPins {
  const writes = new Map<string, Promise<unknown>>();

  function fileOf(agent: string): string {
    return path.join(directory, `${agentNameSchema.parse(agent)}.json`);
  }

  async function read(agent: string): Promise<Map<string, string>> {
    const file = fileOf(agent);
    let text: string;
    try {
      text = await withFile(files, file, flags.readAny, async (handle) => {
        const facts = await handle.stat();
        if (!facts.isFile() || facts.size > MAX_BYTES) throw invalid(file);
        return (await readBytes(handle, 0, facts.size)).toString('utf8');
      });
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return new Map();
      if (errorCode(error) === 'ELOOP') throw invalid(file);
      throw storageError(error, `Cannot read ${file}`);
    }
    try {
      return new Map(fileSchema.parse(JSON.parse(text)).tools);
    } catch (error) {
      throw invalid(file, error);
    }
  }

  async function write(agent: string, fingerprints: ReadonlyMap<string, string>): Promise<void> {
    const tools = [...mergePins(await read(agent), fingerprints, agent)];
    const file = fileOf(agent);
    try {
      await files.mkdir(directory, { mode: DIRECTORY_MODE, recursive: true });
      await replaceFile(files, file, `${JSON.stringify({ version: 1, tools }, null, 1)}\n`);
    } catch (error) {
      throw storageError(error, `Cannot write ${file}`);
    }
  }

  return {
    read,
    async pin(agent, fingerprints) {
      // One after another: each reads what the one before wrote.
      const before = writes.get(agent) ?? Promise.resolve();
      const written = before.then(() => write(agent, fingerprints));
      const settled = written.catch(() => undefined);
      writes.set(agent, settled);
      try {
        await written;
      } finally {
        if (writes.get(agent) === settled) writes.delete(agent);
      }
    },
  };
}

function invalid(file: string, cause?: unknown): DuragentError {
  return new DuragentError(
    'config_invalid',
    `${file} cannot be read: repair it, or delete it to accept the agent's tools as they are now.`,
    cause === undefined ? {} : { cause },
  );
}
