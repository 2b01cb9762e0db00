import { isUtf8 } from 'node:buffer';
import ndjson from 'ndjson';
import { type LineFault, printable } from '../connection.ts';
import { MAX_LINE_BYTES } from '../gateway/event.ts';
import { type DecodedLine, LineDecoder } from '../lines.ts';
import { isTooDeep } from './is-too-deep.ts';

/** What a reader tells of each line, in order. */
export interface LineHandlers {
  /** A JSON object, and the bytes of its line. */
  value(value: unknown, bytes: number): void;
  fault(fault: LineFault): void;
}

/**
 * Cuts a byte stream into JSON objects: at most `MAX_LINE_BYTES` a line and `MAX_LINE_DEPTH` levels.
 * It keeps at most one line. Handlers are called from within `push` and `end`. Empty lines are skipped.
 */
export class JsonLineReader {
  readonly #on: LineHandlers;
  readonly #decoder = new LineDecoder({ maxBytes: MAX_LINE_BYTES });
  readonly #parser = new LineParser();

  constructor(on: LineHandlers) {
    this.#on = on;
  }

  /** Takes the next bytes. They may be reused afterwards. */
  push(chunk: Uint8Array): void {
    for (const line of this.#decoder.push(chunk)) this.#take(line);
  }

  /** The stream has ended. What stands behind the last LF is no line, and a fault. */
  end(): void {
    const rest = this.#decoder.end();
    if (rest === null) return;
    this.#on.fault(rest.type === 'line' ? notJson(rest.bytes) : tooLong(rest.length));
  }

  #take(line: DecodedLine): void {
    if (line.type === 'too_long') {
      this.#on.fault(tooLong(line.length));
      return;
    }
    const { bytes } = line;
    if (!isUtf8(bytes)) {
      this.#on.fault(notJson(bytes));
      return;
    }
    // Without the byte order mark that some shells write in front of their first line.
    const text = utf8.decode(bytes);
    const trimmed = text.trim();
    if (trimmed === '') return;
    if (isTooDeep(bytes)) {
      this.#on.fault({ kind: 'too_deep' });
      return;
    }
    const value = this.#parse(text, trimmed);
    if (value === undefined) {
      this.#on.fault(notJson(bytes));
    } else if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#on.fault({ kind: 'invalid', type: null, fault: 'a line is a JSON object' });
    } else {
      this.#on.value(value, bytes.length);
    }
  }

  /** @returns undefined where it is no JSON. */
  #parse(text: string, trimmed: string): unknown {
    // To the parser's stream null is the end.
    if (trimmed === 'null') return null;
    return mayBeJson(trimmed) ? this.#parser.parse(text) : undefined;
  }
}

const utf8 = new TextDecoder();

/**
 * Whether a text begins and ends as JSON does. To parse another only to see it refused leaves half
 * a kilobyte in the old generation of the heap (V8 keeps the place of each syntax error), and a log
 * on the wrong stream has a hundred thousand lines a second.
 */
function mayBeJson(trimmed: string): boolean {
  const last = trimmed.at(-1);
  switch (trimmed[0]) {
    case '{':
      return last === '}';
    case '[':
      return last === ']';
    case '"':
      return last === '"';
    default:
      return /^(?:true|false|-?\d[\d.eE+-]*)$/.test(trimmed);
  }
}

/** The `ndjson` parser, given one whole line at a time: it answers from within `write`. */
class LineParser {
  #stream: ReturnType<typeof ndjson.parse> | null = null;
  #value: unknown;

  /** @returns the value of a line that is not `null`; undefined: it is no JSON. */
  parse(line: string): unknown {
    this.#stream ??= this.#open();
    this.#value = undefined;
    this.#stream.write(`${line}\n`);
    const value = this.#value;
    this.#value = undefined;
    // What gave nothing may have ended: the next line gets a new one.
    if (value === undefined) this.#stream = null;
    return value;
  }

  #open(): ReturnType<typeof ndjson.parse> {
    const stream = ndjson.parse({ strict: false });
    stream.on('data', (value: unknown) => {
      this.#value = value;
    });
    stream.on('error', () => {});
    return stream;
  }
}

function notJson(bytes: Uint8Array): LineFault {
  // At most 4 bytes a character.
  return { kind: 'not_json', text: printable(utf8.decode(bytes.subarray(0, 2000))) };
}

function tooLong(bytes: number): LineFault {
  return { kind: 'too_long', bytes };
}
