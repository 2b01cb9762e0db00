import type { ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import type { Clock } from '../ports/clock.ts';
import type { Frame } from '../runtime/feed.ts';
import type { HttpLogger, RouteContext } from './context.ts';
import { encodeMessage } from './frames.ts';
import { problemOf } from './problem.ts';

/** What is written at once, in UTF-16 units or bytes. */
const PIECE = 64 * 1024;
/** A client that took nothing for so long while bytes waited for it is cut, in ms. */
const STALL_MS = 30_000;

export interface SseOptions {
  /** The frames; they end soon after the signal aborts, which it does when the client leaves. */
  frames(signal: AbortSignal): AsyncIterable<Frame>;
  /** The bytes of one frame, perhaps with others behind it. */
  encode(frame: Frame): string;
  /** Written before the first frame. */
  opening?: string;
  /** Asked after each frame: true ends the stream. */
  isDone?(): boolean;
  /** Written when the frames ended by themselves before `isDone`. */
  closing?(): string;
}

/**
 * Answers with an event stream. Frames that are ready together are written together, nothing is
 * read while the client's socket is full (the server's high water mark, 256 KiB), and a client
 * without progress for 30 s is cut. Its leaving ends the frames and is no error.
 */
export function sendEvents(
  ctx: RouteContext,
  deps: { clock: Clock; logger: HttpLogger; limits: { keepAliveIntervalMs: number } },
  options: SseOptions,
): void {
  const { scope } = ctx.state;
  scope.assertInTime();
  ctx.status = 200;
  ctx.set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' });
  const writer = new EventWriter(ctx.res, deps.clock, deps.limits.keepAliveIntervalMs);
  ctx.body = writer.body;
  if (ctx.method === 'HEAD') {
    writer.close();
    return;
  }
  // koa asks whether a stream is a `Response`, which loads all of Node's fetch for the first client that attaches.
  ctx.respond = false;
  pipeline(writer.body, ctx.res, (error) => {
    if (error) ctx.onerror(error);
  });
  const { signal } = scope;
  const pump = async (): Promise<void> => {
    writer.write(`retry: 1000\n\n${options.opening ?? ''}`);
    try {
      for await (const frame of options.frames(signal)) {
        writer.write(options.encode(frame));
        if (options.isDone?.()) return;
        if (writer.isBehind) await writer.catchUp();
        // What comes until the piece goes out is then taken as one delta.
        else if (frame.kind === 'delta') await writer.flushed();
      }
      if (!signal.aborted && options.closing) writer.write(options.closing());
    } catch (error) {
      if (signal.aborted) return;
      const answer = problemOf(error, scope.id);
      if (answer.isInternal)
        deps.logger.error({ err: error, request_id: scope.id }, 'stream failed');
      writer.write(encodeMessage('error', answer.body));
    } finally {
      await writer.finish();
    }
  };
  void pump();
}

/** Gathers text into pieces for one response, and knows when its client is behind. */
class EventWriter {
  readonly body: Readable;
  readonly #res: ServerResponse;
  readonly #clock: Clock;
  readonly #keepAliveMs: number;
  #pending = '';
  /** Resolves when the piece that is being gathered has gone out; null: nothing is gathered. */
  #flush: PromiseWithResolvers<void> | null = null;
  #isFull = false;
  #room = Promise.withResolvers<void>();
  #cancelKeepAlive: () => void = () => undefined;

  constructor(res: ServerResponse, clock: Clock, keepAliveMs: number) {
    this.#res = res;
    this.#clock = clock;
    this.#keepAliveMs = keepAliveMs;
    this.body = new Readable({
      highWaterMark: PIECE,
      read: () => this.#resume(),
      destroy: (error, done) => {
        this.#cancelKeepAlive();
        this.#resume();
        done(error);
      },
    });
    this.#keepAlive();
  }

  /** Adds text; it goes out with whatever else is added before the event loop comes round. */
  write(text: string): void {
    this.#pending += text;
    if (this.#flush || this.isBehind) return;
    const flush = Promise.withResolvers<void>();
    this.#flush = flush;
    setImmediate(() => {
      this.#flush = null;
      if (!this.isBehind) this.#push();
      flush.resolve();
    });
  }

  /** Waits until what was written so far is on its way. */
  async flushed(): Promise<void> {
    await this.#flush?.promise;
  }

  /** Whether `catchUp` has to be awaited before more is written. */
  get isBehind(): boolean {
    return this.#isFull || this.#pending.length >= PIECE;
  }

  /** Writes what waits, as fast as the client takes it; returns at once when it has left. */
  async catchUp(): Promise<void> {
    await this.#untilRoom();
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    for (let start = 0; start < bytes.length && !this.body.destroyed; start += PIECE) {
      this.#isFull = !this.body.push(bytes.subarray(start, start + PIECE));
      await this.#untilRoom();
    }
  }

  /** Writes what waits and ends the response. */
  async finish(): Promise<void> {
    if (this.isBehind) await this.catchUp();
    this.#push();
    this.close();
  }

  close(): void {
    this.#cancelKeepAlive();
    if (!this.body.destroyed) this.body.push(null);
  }

  #push(): void {
    if (this.#pending === '' || this.body.destroyed) return;
    const text = this.#pending;
    this.#pending = '';
    this.#isFull = !this.body.push(text);
  }

  #resume(): void {
    this.#isFull = false;
    this.#room.resolve();
  }

  async #untilRoom(): Promise<void> {
    while (this.#isFull && !this.body.destroyed) {
      this.#room = Promise.withResolvers<void>();
      const unwatch = this.#watch(this.#res.writableLength);
      await this.#room.promise;
      unwatch();
    }
  }

  /** Cuts the client when nothing of what the socket holds has gone out in time. */
  #watch(before: number): () => void {
    let cancel = this.#clock.after(STALL_MS, () => {
      const now = this.#res.writableLength;
      if (now < before) cancel = this.#watch(now);
      else this.#res.destroy();
    });
    return () => cancel();
  }

  #keepAlive(): void {
    this.#cancelKeepAlive = this.#clock.after(this.#keepAliveMs, () => {
      if (!this.isBehind) this.write(':\n\n');
      this.#keepAlive();
    });
  }
}
