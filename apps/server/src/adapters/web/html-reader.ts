import { type ChildProcess, fork } from 'node:child_process';
import { z } from 'zod';
import type { HtmlAnswer, HtmlTask } from './html-process.ts';

/** Enough for any page of 1 MiB that people read, on a slow machine. */
const TIMEOUT_MS = 10_000;
const MAX_HEAP_MB = 256;
/** For pages of a few thousand levels; half of what the system gives a process. */
const STACK_KB = 3_900;
/** Each takes a core and its heap. */
const MAX_PROCESSES = 2;
const MAX_WAITING = 32;

/** Beside this file, in the sources as in the bundle, where it has an entry of its own. */
const entry = new URL(
  import.meta.url.endsWith('.ts') ? './html-process.ts' : './html-process.js',
  import.meta.url,
);

const answerSchema = z.union([
  z.object({
    ok: z.literal(true),
    title: z.string().nullable(),
    text: z.string(),
    truncated: z.boolean(),
  }),
  z.object({ ok: z.literal(false), reason: z.string() }),
]);

export interface HtmlReaderOptions {
  timeoutMs?: number;
  maxHeapMb?: number;
}

/**
 * Reads pages, each in a process of its own with a limit on its time and its memory, as any may be
 * made to hang or fill a parser. A thread would not do: V8 ends the whole process when an
 * allocation fails at a bad moment, whatever limit the thread was given.
 */
export class HtmlReader {
  readonly #timeoutMs: number;
  readonly #maxHeapMb: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor({ timeoutMs = TIMEOUT_MS, maxHeapMb = MAX_HEAP_MB }: HtmlReaderOptions = {}) {
    this.#timeoutMs = timeoutMs;
    this.#maxHeapMb = maxHeapMb;
  }

  /** Resolves with the text, or with the reason why there is none; soon after the signal aborts at the latest. */
  async read(task: HtmlTask, signal: AbortSignal): Promise<HtmlAnswer> {
    if (!(await this.#enter(signal))) {
      const reason = signal.aborted ? 'it was cancelled' : 'too many pages are being read';
      return { ok: false, reason };
    }
    try {
      return await this.#readNow(task, signal);
    } finally {
      this.#leave();
    }
  }

  /** Waits for its turn, in order. @returns whether it came. */
  #enter(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    if (this.#running < MAX_PROCESSES) {
      this.#running += 1;
      return Promise.resolve(true);
    }
    if (this.#waiting.length >= MAX_WAITING) return Promise.resolve(false);
    return new Promise((resolve) => {
      const start = (): void => {
        signal.removeEventListener('abort', stop);
        resolve(true);
      };
      const stop = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        resolve(false);
      };
      this.#waiting.push(start);
      signal.addEventListener('abort', stop, { once: true });
    });
  }

  /** Hands its place to the next, if any waits. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }

  async #readNow(task: HtmlTask, signal: AbortSignal): Promise<HtmlAnswer> {
    const child = fork(entry, [], {
      execArgv: [`--max-old-space-size=${this.#maxHeapMb}`, `--stack-size=${STACK_KB}`],
      // Nothing of the server is its business, and nothing it writes is the server's output.
      env: {},
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const gone = new Promise<void>((resolve) => {
      child.once('close', resolve);
      child.once('error', () => resolve());
    });
    try {
      return await this.#ask(child, task, signal);
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
  }

  #ask(child: ChildProcess, task: HtmlTask, signal: AbortSignal): Promise<HtmlAnswer> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const stop = AbortSignal.any([signal, timeout]);
    return new Promise((resolve) => {
      const fail = (reason: string): void => resolve({ ok: false, reason });
      const cancel = (): void => {
        const late = `it could not be parsed within ${this.#timeoutMs / 1_000} s`;
        fail(signal.aborted ? 'it was cancelled' : late);
      };
      if (stop.aborted) cancel();
      stop.addEventListener('abort', cancel, { once: true });
      child.once('message', (message) => {
        const answer = answerSchema.safeParse(message);
        if (answer.success) resolve(answer.data);
        else fail('its parser broke');
      });
      child.once('error', () => fail('its parser could not be started'));
      child.once('close', () => fail('its parser broke or ran out of memory'));
      // Where it cannot be sent, the process has ended, and `close` tells.
      child.send(task, () => undefined);
    });
  }
}
