import type { RichText } from 'grammy/types';
import { cannotParse } from './refusal.ts';
import { runLength } from './rich-marks.ts';

/** A part whose text is not read any further, and where it ends. */
interface Verbatim {
  part: RichText;
  end: number;
}

/**
 * Code of a line, from its first backtick on.
 * @throws Refusal `can't parse entities: …` for code without its end.
 */
export function readCode(source: string, begin: number, where: (at: number) => string): Verbatim {
  const length = runLength(source, begin);
  const mark = '`'.repeat(length);
  let end = source.indexOf(mark, begin + length);
  while (end >= 0 && runLength(source, end) !== length) {
    end = source.indexOf(mark, end + runLength(source, end));
  }
  if (end < 0) throw cannotParse(`Can't find end of Code entity ${where(begin)}`);
  const text = source.slice(begin + length, end).replaceAll('\n', ' ');
  const isPadded = text.startsWith(' ') && text.endsWith(' ') && text.trim() !== '';
  return {
    part: { type: 'code', text: isPadded ? text.slice(1, -1) : text },
    end: end + length,
  };
}

/**
 * `$x$`, with nothing blank inside of the dollars and no digit after them.
 * @returns undefined: a dollar is a dollar.
 */
export function readMath(source: string, begin: number): Verbatim | undefined {
  const next = source[begin + 1] ?? ' ';
  let end = -1;
  if (!/[\s$]/.test(next)) {
    end = source.indexOf('$', begin + 1);
    while (end >= 0 && /[\s\\]/.test(source[end - 1] ?? '')) {
      end = source.indexOf('$', end + 1);
    }
  }
  if (end < 0 || /\d/.test(source[end + 1] ?? '')) return undefined;
  const expression = source.slice(begin + 1, end);
  return { part: { type: 'mathematical_expression', expression }, end: end + 1 };
}
