import type { MarkedToken, Token, Tokens } from 'marked';
import { decodeEntities, escape, visibleText } from './entities.ts';
import { codeInfo, isOverfull, isShownAsLink, known, plainPart } from './tokens.ts';

/** Where a token of an ordinary message stands. */
interface Place {
  /** The inline tags around it; none is opened twice. */
  open: readonly string[];
  /** In front of the items of a list in a list. */
  indent: string;
  inQuote: boolean;
}

const top: Place = { open: [], indent: '', inQuote: false };
/** Where no link is shown: its address stands behind it. */
const inCode: Place = { ...top, open: ['a'] };

/** What Markdown is as HTML with Telegram's tags only. */
export function htmlOf(tokens: readonly Token[]): string {
  return blocksOf(tokens, top);
}

function blocksOf(tokens: readonly Token[], place: Place): string {
  const written = known(tokens).map((token) => block(token, place));
  return written.filter((text) => text !== '').join('\n\n');
}

function block(token: MarkedToken, place: Place): string {
  switch (token.type) {
    case 'space':
      return '';
    case 'heading':
      return wrap('b', token.tokens, place);
    case 'paragraph':
      return inline(token.tokens, place);
    case 'code': {
      const { language, title } = codeInfo(token);
      const code = escape(token.text);
      const marked = language ? `<code class="language-${language}">${code}</code>` : code;
      return `${title === '' ? '' : `${literal(title)}\n`}<pre>${marked}</pre>`;
    }
    case 'blockquote':
      return quotation(token, place);
    case 'list':
      return list(token, place);
    case 'table':
      return `<pre>${escape(isOverfull(token) ? token.raw.trim() : columnsOf(token))}</pre>`;
    case 'hr':
      return '———';
    case 'html':
    case 'def':
      return literal(token.raw.trim());
    default:
      return inlineToken(token, place);
  }
}

/** In an ordinary message a quotation cannot stand in another one. */
function quotation(token: Tokens.Blockquote, place: Place): string {
  const inner = blocksOf(token.tokens, { ...place, inQuote: true });
  if (inner === '') return '';
  if (!place.inQuote) return `<blockquote>${inner}</blockquote>`;
  return inner
    .split('\n')
    .map((line) => `&gt; ${line}`)
    .join('\n');
}

function list(token: Tokens.List, place: Place): string {
  const first = token.start === '' ? 1 : token.start;
  const items = token.items.map((item, index) => {
    const marker = token.ordered ? `${first + index}. ` : item.task ? '' : '• ';
    return `${place.indent}${marker}${listItem(item, place)}`;
  });
  return items.join('\n');
}

function listItem(item: Tokens.ListItem, place: Place): string {
  const inner = { ...place, indent: `${place.indent}  ` };
  const gap = item.loose ? '\n\n' : '\n';
  let text = '';
  for (const token of known(item.tokens)) {
    const written = block(token, inner);
    const isFirst = text === '' || token.type === 'checkbox' || text.endsWith(' ');
    if (written !== '') text += isFirst ? written : (token.type === 'list' ? '\n' : gap) + written;
  }
  return text;
}

/** A table in columns of a fixed width. */
export function columnsOf(token: Tokens.Table): string {
  const texts = [token.header, ...token.rows].map((cells) =>
    cells.map((cell) => visibleText(inline(cell.tokens, inCode)).replace(/\s+/g, ' ').trim()),
  );
  const widths = token.header.map((_, column) =>
    Math.max(1, ...texts.map((row) => Array.from(row[column] ?? '').length)),
  );
  const pad = (text: string, width = 0): string =>
    text + ' '.repeat(Math.max(0, width - Array.from(text).length));
  const lines = texts.map((row) =>
    row
      .map((text, column) => pad(text, widths[column]))
      .join(' | ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('-+-'));
  return lines.join('\n');
}

function inline(tokens: readonly Token[], place: Place): string {
  return known(tokens)
    .map((token) => inlineToken(token, place))
    .join('');
}

function inlineToken(token: MarkedToken, place: Place): string {
  switch (token.type) {
    case 'strong':
      return wrap('b', token.tokens, place);
    case 'em':
      return wrap('i', token.tokens, place);
    case 'del':
      return wrap('s', token.tokens, place);
    case 'codespan':
      return `<code>${escape(token.text)}</code>`;
    case 'link':
      return link(token.href, token.tokens, place);
    case 'image': {
      const label = token.text === '' ? 'image' : token.text;
      return link(token.href, [{ type: 'text', raw: label, text: label }], place);
    }
    case 'text':
      return token.tokens === undefined
        ? literal(decodeEntities(token.text))
        : inline(token.tokens, place);
    default:
      return literal(plainPart(token));
  }
}

function wrap(tag: string, tokens: readonly Token[], place: Place): string {
  if (place.open.includes(tag)) return inline(tokens, place);
  const inner = inline(tokens, { ...place, open: [...place.open, tag] });
  return inner === '' ? '' : `<${tag}>${inner}</${tag}>`;
}

/** A link where Telegram shows one; else its text and, behind it, its address. */
function link(href: string, tokens: readonly Token[], place: Place): string {
  if (!place.open.includes('a') && isShownAsLink(href)) {
    const inner = inline(tokens, { ...place, open: [...place.open, 'a'] });
    return `<a href="${escape(href)}">${inner === '' ? escape(href) : inner}</a>`;
  }
  const text = inline(tokens, place);
  const address = href.replace(/^mailto:/i, '');
  if (address === '' || visibleText(text) === address) return text;
  return text === '' ? literal(address) : `${text} (${literal(address)})`;
}

/**
 * Text as it is. A name is code, where Telegram finds no mention; also in a link, which Telegram
 * may drop, and an `@` in front of a tag, for the name may go on behind it.
 */
function literal(text: string): string {
  return escape(text).replace(/(?<!\w)@(?:\w+|$)/g, '<code>$&</code>');
}
