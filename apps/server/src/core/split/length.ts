import type { LengthUnit } from '@duragent/protocol';
import { utf8Length } from '../utf8.ts';

/** How long a text is. A lone surrogate counts as one character, and as three bytes. */
export function lengthOf(text: string, unit: LengthUnit): number {
  switch (unit) {
    case 'utf16':
      return text.length;
    case 'bytes':
      return utf8Length(text);
    case 'chars': {
      let count = 0;
      for (let at = 0; at < text.length; at += isPair(text, at) ? 2 : 1) count += 1;
      return count;
    }
  }
}

/** How far a text reaches from `from` when it may be `length` long; never between the halves of a pair. */
export function reach(text: string, from: number, length: number, unit: LengthUnit): number {
  let left = length;
  let at = from;
  while (at < text.length) {
    const units = isPair(text, at) ? 2 : 1;
    left -= unit === 'utf16' ? units : unit === 'chars' ? 1 : bytesAt(text, at, units);
    if (left < 0) break;
    at += units;
  }
  return at;
}

/** Whether a surrogate pair begins here. */
export function isPair(text: string, at: number): boolean {
  const high = text.charCodeAt(at);
  if (high < 0xd800 || high >= 0xdc00) return false;
  const low = text.charCodeAt(at + 1);
  return low >= 0xdc00 && low < 0xe000;
}

function bytesAt(text: string, at: number, units: number): number {
  if (units === 2) return 4;
  const unit = text.charCodeAt(at);
  if (unit < 0x80) return 1;
  return unit < 0x800 ? 2 : 3;
}
