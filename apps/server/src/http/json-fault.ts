/** Where and why a text is not JSON. */
export interface JsonFault {
  /** Index in the text, from 0. */
  position: number;
  reason: string;
}

type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or end' | 'nothing';

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Finds where a text stops being JSON or nests deeper than `maxDepth`; null: nowhere. It does not
 * recurse, and takes time proportional to the text. (V8 names no position in most of its messages.)
 */
export function findJsonFault(text: string, maxDepth: number): JsonFault | null {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  let i = 0;
  for (;;) {
    i = skip(SPACE, text, i);
    const c = text[i];
    if (c === undefined) {
      return expected === 'nothing' ? null : { position: i, reason: 'it ends too early' };
    }
    const inside = open.at(-1);
    const unexpected = { position: i, reason: 'an unexpected character' };
    const isClosing =
      (c === '}' && inside === '{' && (expected === 'key or }' || expected === ', or end')) ||
      (c === ']' && inside === '[' && (expected === 'value or ]' || expected === ', or end'));
    if (isClosing) {
      open.pop();
      i += 1;
      expected = open.length === 0 ? 'nothing' : ', or end';
    } else if (expected === ', or end') {
      if (c !== ',') return unexpected;
      i += 1;
      expected = inside === '{' ? 'key' : 'value';
    } else if (expected === ':') {
      if (c !== ':') return unexpected;
      i += 1;
      expected = 'value';
    } else if (expected === 'nothing') {
      return unexpected;
    } else if (c === '"') {
      const end = stringEnd(text, i);
      if (typeof end !== 'number') return end;
      i = end;
      const isKey: boolean = expected === 'key' || expected === 'key or }';
      expected = isKey ? ':' : open.length === 0 ? 'nothing' : ', or end';
    } else if (expected === 'key' || expected === 'key or }') {
      return unexpected;
    } else if (c === '{' || c === '[') {
      if (open.length >= maxDepth) {
        return { position: i, reason: `it is nested deeper than ${maxDepth}` };
      }
      open.push(c);
      i += 1;
      expected = c === '{' ? 'key or }' : 'value or ]';
    } else {
      const end = skip(SCALAR, text, i);
      if (end === i) return unexpected;
      i = end;
      expected = open.length === 0 ? 'nothing' : ', or end';
    }
  }
}

/** The index behind a string that begins at `start`. */
function stringEnd(text: string, start: number): number | JsonFault {
  let i = start + 1;
  for (;;) {
    i = skip(PLAIN, text, i);
    const c = text[i];
    if (c === '"') return i + 1;
    if (c === undefined) return { position: i, reason: 'it ends within a string' };
    if (c !== '\\') return { position: i, reason: 'a control character in a string' };
    const end = skip(ESCAPE, text, i);
    if (end === i) return { position: i, reason: 'an unknown escape' };
    i = end;
  }
}

/** The index behind what a sticky pattern matches at `from`; `from` where it does not. */
function skip(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  return pattern.test(text) ? pattern.lastIndex : from;
}
