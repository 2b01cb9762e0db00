import { isUtf8 } from 'node:buffer';
import { LineDecoder } from '@duragent/protocol';
import { isObject } from './json-values.ts';

/** What was on a line. */
export type JsonLine =
  | { type: 'value'; value: Record<string, unknown>; bytes: number }
  /** No JSON object: words for people, a broken message. `text` is its beginning. */
  | { type: 'other'; text: string; bytes: number }
  /** A message that is too long or nested too deep to be read. */
  | { type: 'unread'; why: string; bytes: number };

export interface JsonLineLimits {
  maxMessageBytes: number;
  maxMessageDepth: number;
}

const SHOWN_BYTES = 500;

/** Cuts a stream of bytes into JSON objects, a line each, and keeps at most one line. Empty lines are skipped. */
export class JsonLines {
  readonly #limits: JsonLineLimits;
  readonly #decoder: LineDecoder;

  constructor(limits: JsonLineLimits) {
    this.#limits = limits;
    this.#decoder = new LineDecoder({ maxBytes: limits.maxMessageBytes });
  }

  /** Takes the next bytes and gives each line that they end to `onLine`. */
  push(chunk: Uint8Array, onLine: (line: JsonLine) => void): void {
    for (const line of this.#decoder.push(chunk)) {
      if (line.type === 'line') {
        const read = this.#read(line.bytes);
        if (read !== null) onLine(read);
      } else {
        const why = `it is ${line.length} bytes long, more than ${this.#limits.maxMessageBytes}`;
        onLine({ type: 'unread', why, bytes: line.length });
      }
    }
  }

  #read(line: Uint8Array): JsonLine | null {
    const bytes = line.length;
    if (!isUtf8(line)) return { type: 'other', text: beginning(line), bytes };
    // The decoder drops the byte order mark that some shells write in front of their first line.
    const text = new TextDecoder().decode(line).trim();
    if (text === '') return null;
    if (!text.startsWith('{')) return { type: 'other', text: beginning(line), bytes };
    if (isDeeper(line, this.#limits.maxMessageDepth)) {
      const why = `it is nested deeper than ${this.#limits.maxMessageDepth} levels`;
      return { type: 'unread', why, bytes };
    }
    try {
      const value: unknown = JSON.parse(text);
      if (isObject(value)) return { type: 'value', value, bytes };
    } catch {
      // Said below.
    }
    return { type: 'other', text: beginning(line), bytes };
  }
}

function beginning(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, SHOWN_BYTES));
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether JSON is nested deeper than `most`, in one pass and before it is parsed. */
export function isDeeper(json: Uint8Array, most: number): boolean {
  let depth = 0;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = endOfString(json, at);
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > most) return true;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

/** Where the string that begins at `at` ends: long ones are most of a long message. */
function endOfString(json: Uint8Array, at: number): number {
  for (let end = json.indexOf(QUOTE, at + 1); end !== -1; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return json.length;
}
