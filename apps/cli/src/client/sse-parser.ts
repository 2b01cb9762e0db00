import { DuragentError } from '@duragent/protocol';

/** The largest frame that is read, in UTF-16 units. */
export const MAX_FRAME_LENGTH = 2 * 1024 * 1024;

/** One frame of an event stream; `id` is null where the frame itself had none. */
export interface SseFrame {
  id: string | null;
  event: string;
  data: string;
}

/**
 * Reads `text/event-stream` from bytes, cut anywhere: CRLF, LF or CR, a BOM, characters split
 * between two chunks. Comments and `retry` are skipped; an unfinished last frame never shows.
 */
export class SseParser {
  readonly #decoder = new TextDecoder('utf-8');
  #line = '';
  #skipLf = false;
  #length = 0;
  #id: string | null = null;
  #event = '';
  #data: string[] = [];

  /** @throws DuragentError failed, when a frame is larger than `MAX_FRAME_LENGTH`. */
  push(bytes: Uint8Array): SseFrame[] {
    const text = this.#decoder.decode(bytes, { stream: true });
    const frames: SseFrame[] = [];
    let start = 0;
    while (start < text.length) {
      if (this.#skipLf) {
        this.#skipLf = false;
        if (text[start] === '\n') {
          start += 1;
          continue;
        }
      }
      const end = lineEnd(text, start);
      const part = end === -1 ? text.slice(start) : text.slice(start, end);
      this.#length += part.length;
      if (this.#length > MAX_FRAME_LENGTH) {
        throw new DuragentError(
          'failed',
          'The server sent an event larger than 2 MiB. Is it Duragent?',
        );
      }
      this.#line += part;
      if (end === -1) break;
      this.#skipLf = text[end] === '\r';
      start = end + 1;
      const frame = this.#readLine(this.#line);
      this.#line = '';
      if (frame !== null) frames.push(frame);
    }
    return frames;
  }

  #readLine(line: string): SseFrame | null {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) {
      this.#length -= line.length;
      return null;
    }
    const field = colon === -1 ? line : line.slice(0, colon);
    const rest = colon === -1 ? '' : line.slice(colon + 1);
    const value = rest.startsWith(' ') ? rest.slice(1) : rest;
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    return null;
  }

  #dispatch(): SseFrame | null {
    const frame =
      this.#data.length === 0
        ? null
        : { id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') };
    this.#length = 0;
    this.#id = null;
    this.#event = '';
    this.#data = [];
    return frame;
  }
}

function lineEnd(text: string, from: number): number {
  const lf = text.indexOf('\n', from);
  const cr = text.slice(from, lf === -1 ? undefined : lf).indexOf('\r');
  return cr === -1 ? lf : from + cr;
}
