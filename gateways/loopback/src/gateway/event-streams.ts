import type { IncomingMessage, ServerResponse } from 'node:http';
import { DuragentError } from '@duragent/protocol';
import type { Post } from '../format.ts';
import { readCount } from './http.ts';

const MAX_STREAMS = 32;
/** A stream whose reader is so far behind is ended; it can go on by `Last-Event-ID`. */
const MAX_STREAM_BYTES = 8 * 1024 * 1024;

/** Those who read along what the bot does, each over a response that stays open. */
export class EventStreams {
  readonly #streams = new Set<ServerResponse>();

  /**
   * Begins a stream with what changed after the number that the caller names, or now.
   * @throws DuragentError too_many_requests
   */
  open(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    changes: (after: number) => readonly Post[],
  ): void {
    if (this.#streams.size >= MAX_STREAMS) {
      throw new DuragentError('too_many_requests', `${MAX_STREAMS} streams are open: close one.`);
    }
    const seen = request.headers['last-event-id'];
    if (seen !== undefined) url.searchParams.set('after', String(seen));
    const after = readCount(url, 'after', Number.MAX_SAFE_INTEGER);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': everything the bot posts\n\n');
    this.#streams.add(response);
    response.once('close', () => this.#streams.delete(response));
    // Without `after` a stream begins now.
    if (!url.searchParams.has('after')) return;
    for (const post of changes(after)) response.write(frame('message', post, post.change));
  }

  publish(event: string, data: object, id?: number): void {
    const text = frame(event, data, id);
    for (const stream of this.#streams) {
      if (stream.writableLength > MAX_STREAM_BYTES) stream.destroy();
      else stream.write(text);
    }
  }

  end(): void {
    for (const stream of this.#streams) stream.end();
  }
}

function frame(event: string, data: object, id?: number): string {
  const name = id === undefined ? '' : `id: ${id}\n`;
  return `${name}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
