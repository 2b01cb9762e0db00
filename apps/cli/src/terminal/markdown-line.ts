import { Lexer, type Token } from 'marked';
import { span, type Span, type Style, type TextLine } from './text-line.ts';

/** Rules are drawn this wide. */
const RULE_WIDTH = 40;
/** Quotes and emphasis deeper than this are shown as they are written. */
const MAX_DEPTH = 12;

/** One line of Markdown outside of fences, as it is shown. The text must be sanitized. */
export function renderMarkdownLine(text: string, options: { inlineOnly?: boolean } = {}): TextLine {
  if (options.inlineOnly === true) return textLine([], [], inline(text));
  const quote = /^ {0,3}((?:> ?)+)(.*)$/.exec(text);
  if (quote?.[1] !== undefined) {
    const depth = Math.min(quote[1].replaceAll(' ', '').length, MAX_DEPTH);
    const inner = renderBlock(quote[2] ?? '');
    const bars = span('│ '.repeat(depth), 'dim');
    return { ...inner, first: [bars, ...inner.first], rest: [bars, ...inner.rest] };
  }
  return renderBlock(text);
}

function renderBlock(text: string): TextLine {
  const heading = /^ {0,3}(#{1,6})[ ]+(.*?)[ ]*$/.exec(text);
  if (heading?.[1] !== undefined) {
    const styles: Style[] = heading[1].length <= 2 ? ['bold', 'underline'] : ['bold'];
    return textLine([], [], inline((heading[2] ?? '').replace(/ #+$/, ''), styles));
  }
  if (/^ {0,3}(?:(?:- *){3,}|(?:\* *){3,}|(?:_ *){3,})$/.test(text)) {
    return textLine([], [], [span('─'.repeat(RULE_WIDTH), 'dim')]);
  }
  const item = /^( {0,40})([-*+]|\d{1,9}[.)]) +(?:\[([ xX])\] +)?(.*)$/.exec(text);
  if (item?.[1] !== undefined && item[2] !== undefined) {
    const bullet = /\d/.test(item[2]) ? item[2] : '•';
    const box = item[3] === undefined ? '' : item[3] === ' ' ? '☐ ' : '☑ ';
    const first = [span(item[1]), span(bullet, 'dim'), span(` ${box}`)];
    const rest = [span(' '.repeat(item[1].length + bullet.length + 1 + box.length))];
    return textLine(first, rest, inline(item[4] ?? ''));
  }
  if (/^ {0,3}\|[-:| ]+\|? *$/.test(text))
    return { ...textLine([], [], [span(text, 'dim')]), wrap: false };
  const indent = /^ {0,40}/.exec(text)?.[0] ?? '';
  const margin = indent === '' ? [] : [span(indent)];
  return textLine(margin, margin, inline(text.slice(indent.length)));
}

function textLine(first: Span[], rest: Span[], body: Span[]): TextLine {
  return { first, rest, body, wrap: true };
}

function inline(text: string, styles: readonly Style[] = []): Span[] {
  if (!/[*_`~[\]<>\\:@]|www\./.test(text)) return [{ text, styles }];
  return Lexer.lexInline(text, { gfm: true }).flatMap((token) => inlineToken(token, styles, 0));
}

function inlineToken(token: Token, styles: readonly Style[], depth: number): Span[] {
  const within = (...more: Style[]): Span[] => {
    const all = [...new Set([...styles, ...more])];
    const tokens = 'tokens' in token ? token.tokens : undefined;
    if (tokens === undefined || depth >= MAX_DEPTH)
      return [{ text: oneLine(token.raw), styles: all }];
    return tokens.flatMap((inner) => inlineToken(inner, all, depth + 1));
  };
  switch (token.type) {
    case 'strong':
      return within('bold');
    case 'em':
      return within('italic');
    case 'del':
      return within('strikethrough');
    case 'codespan':
      return [{ text: oneLine(codeText(token.raw)), styles: [...styles, 'cyan'] }];
    case 'escape':
      return [{ text: oneLine(token.raw.slice(1)), styles }];
    case 'link': {
      const href = 'href' in token ? String(token.href) : '';
      const title = 'text' in token ? String(token.text) : '';
      if (token.raw === title || token.raw === `<${title}>`)
        return [{ text: title, styles: [...styles, 'underline'] }];
      const address =
        href === title || href === ''
          ? []
          : [{ text: ` (${oneLine(href)})`, styles: [...styles, 'dim' as const] }];
      return [...within('underline'), ...address];
    }
    default:
      return [{ text: oneLine(token.raw), styles }];
  }
}

/** Without the backticks, and without the one space that may keep them apart from the code. */
function codeText(raw: string): string {
  const inner = raw.replace(/^(`+)([\s\S]*)\1$/, '$2');
  return /^ .*[^ ].* $|^ `.*` $/.test(inner) ? inner.slice(1, -1) : inner;
}

function oneLine(text: string): string {
  return text.replaceAll('\n', ' ');
}
