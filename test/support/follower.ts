import type { DraftDelta, SessionEvent } from '@duragent/protocol';
import type { Api } from './api.ts';
import type { SseStream } from './sse-stream.ts';
import { until } from './until.ts';

/**
 * A client that stays attached to a session whatever happens to the server: it connects again with
 * the last id it saw, and notes whatever a reader must never see.
 */
export class Follower {
  /** The durable events, over all connections. */
  readonly events: SessionEvent[] = [];
  readonly lines: string[] = [];
  /** What came twice, was missing, or did not fit. */
  readonly faults: string[] = [];
  /** Connections that were made. */
  connections = 0;
  /** The text that was shown of each attempt, by `turn/step/attempt`. */
  readonly texts = new Map<string, string>();
  readonly #session: string;
  readonly #server: () => Api | null;
  #isClosed = false;
  #stream: SseStream | null = null;
  #running: Promise<void>;

  /** @param server where the server is now; null: nowhere. */
  constructor(session: string, server: () => Api | null) {
    this.#session = session;
    this.#server = server;
    this.#running = this.#run();
  }

  async until(what: string, condition: (follower: Follower) => unknown): Promise<void> {
    await until(what, () => condition(this));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stream?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      const stream = await this.#connect();
      if (stream === null) continue;
      this.#stream = stream;
      this.connections += 1;
      let read = 0;
      const shown = new Map<string, string>();
      // Frames that came before the end of a connection count, whatever ended it.
      await until(
        'the connection ends',
        () => {
          for (; read < stream.frames.length; read += 1) this.#take(stream, read, shown);
          return stream.end !== null;
        },
        10 * 60_000,
      );
    }
  }

  async #connect(): Promise<SseStream | null> {
    try {
      const api = await until('a server', () => this.#isClosed || this.#server(), 60_000);
      if (typeof api === 'boolean' || api === null) return null;
      return await api.events(this.#session, { lastEventId: String(this.events.length) });
    } catch (error) {
      // Killed before it answered, or stopping; anything else that a server says is a fault.
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined && !String(error).includes('"code":"draining"')) {
        this.faults.push(String(error));
      }
      return null;
    }
  }

  #take(stream: SseStream, at: number, shown: Map<string, string>): void {
    const frame = stream.frames[at];
    if (frame === undefined) return;
    if (frame.id !== null) {
      const event = JSON.parse(frame.data) as SessionEvent;
      if (frame.id !== String(event.seq) || frame.event !== event.type) {
        this.faults.push(`frame ${frame.id} ${frame.event} has ${frame.data}`);
      }
      if (event.seq !== this.events.length + 1) {
        this.faults.push(`seq ${event.seq} follows ${this.events.length}`);
        return;
      }
      this.events.push(event);
      this.lines.push(frame.data);
    } else if (frame.event === 'token') {
      const token = JSON.parse(frame.data) as Extract<DraftDelta, { type: 'token' }>;
      const key = `${token.turn}/${token.step}/${token.attempt}`;
      const before = shown.get(key) ?? '';
      if (token.offset !== before.length) {
        this.faults.push(`a token of ${key} at ${token.offset} follows ${before.length} units`);
      }
      shown.set(key, before + token.text);
      this.texts.set(key, before + token.text);
    } else if (frame.event === 'reset' || frame.event === 'error') {
      this.faults.push(`${frame.event} ${frame.data}`);
    }
  }
}
