import type { DuragentError } from '@duragent/protocol';
import { Backoff } from './backoff.ts';
import { readFrame, type SessionFrame } from './frames.ts';
import { connectionLost, isTransient, send } from './http.ts';
import type { ResolveServer } from './api-calls.ts';
import { SseParser, type SseFrame } from './sse-parser.ts';

/** What a client sees of a session: its stream, and the state of the connection to it. */
export type ClientFrame =
  | SessionFrame
  /** `first` is false when it was lost before, and only more is known of why. */
  | { kind: 'lost'; error: DuragentError; first: boolean }
  | { kind: 'mended' };

/** A connection on which nothing came for so long (the server comments every 15 s) is dead. */
const SILENCE_MS = 45_000;

/** See `SessionClient.events`. */
export async function* readEvents(
  resolve: ResolveServer,
  path: string,
  options: { after: number; signal: AbortSignal; presence?: boolean },
): AsyncGenerator<ClientFrame> {
  const { signal, presence = true } = options;
  const backoff = new Backoff();
  let after = options.after;
  let lost = false;
  let said = '';
  let ended = false;
  while (!signal.aborted) {
    try {
      const address = await resolve({ signal });
      const query = `?after=${String(after)}${presence ? '' : '&presence=0'}`;
      for await (const sse of openStream(address, path + query, signal)) {
        if (lost) yield { kind: 'mended' };
        lost = false;
        backoff.reset();
        const frame = sse === 'open' ? null : readFrame(sse);
        if (frame === null) continue;
        if (frame.kind === 'event') {
          if (frame.event.seq <= after) continue;
          after = frame.event.seq;
          ended ||= frame.event.type === 'session_ended';
        } else if (frame.delta.type === 'reset') {
          after = 0;
        }
        yield frame;
      }
      if (ended || signal.aborted) return;
      throw connectionLost(address.url, new Error('the server closed the stream'));
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      if (!lost || error.message !== said) yield { kind: 'lost', error, first: !lost };
      lost = true;
      said = error.message;
      try {
        await backoff.wait({ signal, error });
      } catch (reason) {
        if (signal.aborted) return;
        throw reason;
      }
    }
  }
}

/** One connection: `open` when the server accepted it, then its frames, until it closes. */
async function* openStream(
  address: { url: string; token: string },
  path: string,
  signal: AbortSignal,
): AsyncGenerator<SseFrame | 'open'> {
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const request = { method: 'GET', path, accept: 'text/event-stream', signal: either } as const;
    const response = await send(address, request);
    yield 'open';
    const parser = new SseParser();
    if (response.body === null) return;
    const body: AsyncIterable<Uint8Array> = response.body;
    for await (const bytes of body) {
      timer.refresh();
      yield* parser.push(bytes);
    }
  } catch (cause) {
    if (signal.aborted || isTransient(cause) || !isLostConnection(cause)) throw cause;
    throw connectionLost(address.url, cause);
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** undici: a cut body is a TypeError (`terminated`), our own silence timer an AbortError. */
function isLostConnection(cause: unknown): boolean {
  return cause instanceof TypeError || (cause instanceof Error && cause.name === 'AbortError');
}
