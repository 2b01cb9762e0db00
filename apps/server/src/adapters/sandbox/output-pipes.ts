import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

/** One pipe: what is written into `writer`, by whoever has it, is read from `reader`. */
export interface OutputPipe {
  reader: Readable;
  /** The descriptor to hand to a process. */
  writer: number;
  /** Closes the server's own writing end: the reader ends when the last other one is closed. */
  closeWriter(): void;
  /** Gives it back. `isUnused`: nobody has its writing end any more. */
  release(isUnused: boolean): void;
}

/** Linux: a descriptor that names a file without opening it. */
const O_PATH = 0o10000000;
const BATCH = 4;
const MAX_SPARE = 32;

/**
 * Pipes for the output of commands. Node gives its children sockets, and Linux cannot open those
 * again: `echo … > /dev/stderr` fails with them. Named pipes serve, without their names.
 */
export class OutputPipes {
  readonly #spare: number[] = [];
  // Elsewhere /dev/stderr is no link, and works with sockets.
  #works = process.platform === 'linux';

  /** @returns null where there are none: sockets have to do. Never rejects. */
  async open(): Promise<OutputPipe | null> {
    if (!this.#works) return null;
    try {
      const node = this.#spare.pop() ?? (await this.#make());
      return openPipe(node, (isUnused) => this.#takeBack(node, isUnused));
    } catch {
      this.#works = false;
      return null;
    }
  }

  async #make(): Promise<number> {
    const folder = await mkdtemp(path.join(tmpdir(), 'duragent-pipes-'));
    try {
      const files = Array.from({ length: BATCH }, (_, i) => path.join(folder, String(i)));
      await promisify(execFile)('mkfifo', ['-m', '600', ...files], { timeout: 5000 });
      const [first, ...rest] = files.map((file) => openSync(file, O_PATH));
      this.#spare.push(...rest);
      if (first === undefined) throw new Error('no pipe was made');
      return first;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Closes those that nobody uses. */
  close(): void {
    this.#works = false;
    for (const node of this.#spare.splice(0)) closeSync(node);
  }

  #takeBack(node: number, isUnused: boolean): void {
    if (isUnused && this.#works && this.#spare.length < MAX_SPARE) this.#spare.push(node);
    else closeSync(node);
  }
}

/** Synchronously: neither waits for anything, and a command should not wait for a thread. */
function openPipe(node: number, release: (isUnused: boolean) => void): OutputPipe {
  const name = `/proc/self/fd/${node}`;
  // In this order: with a reader there, opening for writing does not wait.
  const fd = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const writer = openSync(name, constants.O_WRONLY);
    const reader = new Socket({ fd, readable: true, writable: false });
    return { reader, writer, closeWriter: () => closeSync(writer), release };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
