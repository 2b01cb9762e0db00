import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

/** A pipe for the output of one process. */
export interface OutputPipe {
  reader: Readable;
  /** The descriptor to hand to the process; to be closed once it has it. */
  writer: number;
}

/**
 * Makes a pipe that a program can open again by its name in /dev. Node gives its children sockets, and
 * Linux cannot open those again: `echo … > /dev/stderr` fails with them. null: here there are none.
 */
export async function makeOutputPipe(folder: string): Promise<OutputPipe | null> {
  const name = path.join(folder, 'output.pipe');
  try {
    await promisify(execFile)('mkfifo', ['-m', '600', name], { timeout: 5000 });
    // In this order: with a reader there, opening for writing does not wait.
    const fd = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const writer = openSync(name, constants.O_WRONLY);
      return { reader: new Socket({ fd, readable: true, writable: false }), writer };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } catch {
    return null;
  } finally {
    await rm(name, { force: true });
  }
}
