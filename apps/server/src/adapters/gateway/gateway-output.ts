import type { Readable } from 'node:stream';
import type { LineFault } from '@duragent/protocol';
import { JsonLineReader } from '@duragent/protocol/node';
import type { Child } from './child.ts';
import type { InboundWindow } from './inbound-window.ts';
import type { GatewayProcessLimits } from './limits.ts';
import { TextLines } from './text-lines.ts';
import type { Timers } from './timers.ts';

/** What reading tells of. Nothing of it may throw. */
interface OutputListener {
  /** A line of its stdout, and how many bytes it took. */
  value(value: unknown, bytes: number): void;
  /** A line of its stdout that is no JSON. */
  fault(fault: LineFault): void;
  /** A line of its stderr. */
  text(text: string): void;
  /** No more is read until the window is open again. */
  paused(): void;
  /** Its stdout has ended. */
  ended(): void;
  /** Reading failed by a fault of this program. */
  failed(error: unknown): void;
}

/** Lines that are taken before all others have their turn: a chunk may hold a thousand. */
const LINES_AT_ONCE = 32;

/** What a gateway's process writes, read no faster than it is taken. */
export class GatewayOutput {
  readonly #child: Pick<Child, 'stdout' | 'stderr'>;
  readonly #window: InboundWindow;
  readonly #timers: Timers;
  readonly #limits: GatewayProcessLimits;
  readonly #on: OutputListener;
  /** Whoever waits for a line, as for `ready`, goes on before the next line is read. */
  isLineByLine = true;
  /** Counts what comes from its pipes, to see whether anything still does. */
  #chunks = 0;
  #isHurried = false;
  #isGivenUp = false;

  constructor(options: {
    child: Pick<Child, 'stdout' | 'stderr'>;
    window: InboundWindow;
    timers: Timers;
    limits: GatewayProcessLimits;
    on: OutputListener;
  }) {
    this.#child = options.child;
    this.#window = options.window;
    this.#timers = options.timers;
    this.#limits = options.limits;
    this.#on = options.on;
  }

  /** Reads both pipes to their ends, and resolves then. Never rejects. */
  async read(): Promise<void> {
    await Promise.all([this.#readStdout(), this.#readStderr()]);
  }

  /** From now on what is read after its exit does not wait for events to become durable. */
  hurry(): void {
    this.#isHurried = true;
  }

  /** The process is gone: reads on, but not for ever where something else holds its pipes open. */
  exited(): void {
    const { drainIdleMs, drainMs } = this.#limits;
    const giveUp = (): void => {
      this.#isGivenUp = true;
      this.#window.release();
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    };
    const watch = (chunks: number): void => {
      this.#timers.after(drainIdleMs, () => {
        const isWaiting = this.#chunks !== chunks || this.#window.isFull;
        if (isWaiting && !this.#isHurried) watch(this.#chunks);
        else giveUp();
      });
    };
    watch(this.#chunks);
    this.#timers.after(drainMs, giveUp);
  }

  async #readStdout(): Promise<void> {
    const reader = new JsonLineReader({
      value: (value, bytes) => this.#on.value(value, bytes),
      fault: (fault) => this.#on.fault(fault),
    });
    let lines = 0;
    await this.#read(this.#child.stdout, async (chunk) => {
      for (const piece of lineByLine(chunk)) {
        if (this.#isGivenUp) return;
        reader.push(piece);
        lines += 1;
        if (this.isLineByLine || lines % LINES_AT_ONCE === 0) await nextTick();
        if (this.#window.isFull) {
          this.#on.paused();
          await this.#window.whenOpen();
        }
      }
    });
    reader.end();
    this.#on.ended();
  }

  async #readStderr(): Promise<void> {
    const lines = new TextLines(this.#limits.logLineBytes);
    const onLine = (text: string): void => this.#on.text(text);
    await this.#read(this.#child.stderr, (chunk) => lines.push(chunk, onLine));
    lines.end(onLine);
  }

  /** Reads until the stream ends or breaks; never more than one chunk without letting others run. */
  async #read(stream: Readable, take: (chunk: Buffer) => void | Promise<void>): Promise<void> {
    try {
      for await (const chunk of stream) {
        this.#chunks += 1;
        await take(chunk as Buffer);
        free(chunk as Buffer);
        await nextTick();
      }
    } catch (error) {
      // A pipe that breaks has ended. Anything else is a fault of this program, and no reason to stop it.
      if (error instanceof Error && 'code' in error) return;
      this.#on.failed(error);
    }
  }
}

const LF = 0x0a;

/** The pieces of a chunk, each up to its LF. */
function* lineByLine(chunk: Buffer): Generator<Buffer> {
  let from = 0;
  for (let to = chunk.indexOf(LF); to >= 0; to = chunk.indexOf(LF, from)) {
    yield chunk.subarray(from, to + 1);
    from = to + 1;
  }
  if (from < chunk.length) yield chunk.subarray(from);
}

/**
 * Frees the memory of a chunk that nobody needs any more. Left to the collector, which counts only
 * objects at first, a fast stream piles up 60 MB before it runs.
 */
function free(chunk: Buffer): void {
  const { buffer } = chunk;
  // One that is not whole may be a part of the pool that small buffers share.
  const isWhole = chunk.byteLength === buffer.byteLength;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** Lets everything else have its turn. */
export function nextTick(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
