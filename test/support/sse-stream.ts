import type { IncomingMessage } from 'node:http';
import type { DraftDelta, SessionEvent } from '@duragent/protocol';
import { until } from './until.ts';

export interface SseFrame {
  id: string | null;
  event: string;
  data: string;
}

/** An event stream as it comes in. Keeps every frame. */
export class SseStream {
  readonly frames: SseFrame[] = [];
  /** How it ended; null while it is open. */
  end: 'whole' | 'cut' | null = null;
  readonly #response: IncomingMessage;
  #rest = '';

  constructor(response: IncomingMessage) {
    this.#response = response;
    response.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    // A server that is killed cuts it: that is one of the ends.
    response.once('error', () => (this.end ??= 'cut'));
    response.once('end', () => (this.end ??= 'whole'));
    response.once('close', () => (this.end ??= 'cut'));
  }

  /** The durable events, in the order in which they came. */
  get events(): SessionEvent[] {
    return this.lines.map((line) => JSON.parse(line) as SessionEvent);
  }

  /** Their stored lines. */
  get lines(): string[] {
    return this.frames.filter((frame) => frame.id !== null).map((frame) => frame.data);
  }

  get lastId(): string {
    return this.frames.findLast((frame) => frame.id !== null)?.id ?? '0';
  }

  /** The data of all frames of one name. */
  of(event: string): Record<string, unknown>[] {
    return this.frames
      .filter((frame) => frame.event === event)
      .map((frame) => JSON.parse(frame.data) as Record<string, unknown>);
  }

  /** The text of one attempt, put together from its tokens. @throws Error where one is missing or came twice. */
  text(turn: string, attempt = 1): string {
    let text = '';
    for (const token of this.of('token') as Extract<DraftDelta, { type: 'token' }>[]) {
      if (token.turn !== turn || token.attempt !== attempt) continue;
      if (token.offset !== text.length) {
        throw new Error(`a token at ${token.offset} follows ${text.length} units of text`);
      }
      text += token.text;
    }
    return text;
  }

  /** Waits until a frame of that name came. */
  async until(what: string, condition: (stream: SseStream) => unknown): Promise<void> {
    await until(what, () => {
      if (condition(this)) return true;
      if (this.end !== null) throw new Error(`the stream ended (${this.end})`);
      return false;
    });
  }

  /** Waits until all that was recorded before has come. */
  async untilCaughtUp(): Promise<void> {
    await this.until('the stream has caught up', () => this.of('caught_up').length > 0);
  }

  /** Waits until so many turns have ended. */
  async untilFinished(turns = 1): Promise<void> {
    await this.until(`${turns} turns have ended`, () => this.of('turn_finished').length >= turns);
  }

  /** Reads nothing more until `resume`: the socket fills up. */
  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#response.destroy();
  }

  #take(text: string): void {
    const parts = (this.#rest + text).split('\n\n');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) {
      const fields = new Map<string, string>();
      for (const line of part.split('\n')) {
        const colon = line.indexOf(':');
        if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ''));
      }
      const data = fields.get('data');
      if (data === undefined) continue; // a comment, or `retry`
      this.frames.push({ id: fields.get('id') ?? null, event: fields.get('event') ?? '', data });
    }
  }
}
