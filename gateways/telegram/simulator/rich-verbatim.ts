import type { RichBlock, RichText } from 'grammy/types';
import { cannotParse } from './refusal.ts';
import type { BlockOfLines, Line } from './rich-lines.ts';
import { runLength } from './rich-marks.ts';

/** A part of a text that is taken as it is, and where it ends. */
interface Verbatim {
  part: RichText;
  end: number;
}

/**
 * Code within text, from its first backtick on.
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
 * `$x$` within text, with nothing blank inside of the dollars and no digit after them.
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

/**
 * Code between fences, from the first of them on.
 * @returns undefined: the line is a text.
 * @throws Refusal `can't parse entities: …` for code without its end.
 */
export function readFence(
  lines: readonly Line[],
  at: number,
  where: (at: number) => string,
): BlockOfLines | undefined {
  const line = lines[at];
  if (line === undefined) return undefined;
  const text = line.text.trimStart();
  const indent = line.text.length - text.length;
  const mark = /^(`+|~+)/.exec(text)?.[0] ?? '```';
  const language = text.slice(mark.length).trim();
  if (mark.startsWith('`') && language.includes('`')) return undefined;
  for (let end = at + 1; end < lines.length; end++) {
    const closing = (lines[end]?.text ?? '').trim();
    if (closing.length < mark.length || closing !== (mark[0] ?? '').repeat(closing.length)) {
      continue;
    }
    const content = lines.slice(at + 1, end).map((inside) => outdent(inside.text, indent));
    const code = content.join('\n');
    const [name = ''] = language.split(/\s/, 1);
    const block: RichBlock =
      name === 'math'
        ? { type: 'mathematical_expression', expression: code }
        : { type: 'pre', text: code, ...(name === '' ? {} : { language: name }) };
    return { block, next: end + 1 };
  }
  const kind = language === '' ? 'Pre' : 'PreCode';
  throw cannotParse(`Can't find end of ${kind} entity ${where(line.at + indent)}`);
}

/**
 * `$$x$$` as a block, over lines too.
 * @throws Refusal `can't parse entities: …` for an expression without its end.
 */
export function readMathBlock(
  lines: readonly Line[],
  from: number,
  where: (at: number) => string,
): BlockOfLines {
  const content: string[] = [];
  for (let end = from; end < lines.length; end++) {
    const text = (lines[end]?.text ?? '').trim();
    const rest = end === from ? text.slice(2) : text;
    if (rest.endsWith('$$')) {
      const expression = [...content, rest.slice(0, -2)].join('\n').trim();
      return { block: { type: 'mathematical_expression', expression }, next: end + 1 };
    }
    content.push(rest);
  }
  throw cannotParse(`Can't find end of a mathematical expression ${where(lines[from]?.at ?? 0)}`);
}

/** Code whose lines begin with four blanks, or are blank. */
export function readIndentedCode(lines: readonly Line[], from: number): BlockOfLines {
  let at = from;
  while (at < lines.length && /^(?: {4}| *$)/.test(lines[at]?.text ?? '')) at++;
  const code = lines.slice(from, at).map(({ text }) => outdent(text, 4));
  return { block: { type: 'pre', text: code.join('\n').trimEnd() }, next: at };
}

/** A text without so many of the blanks that it begins with. */
function outdent(text: string, indent: number): string {
  const blank = text.length - text.trimStart().length;
  return text.slice(Math.min(blank, indent));
}
