import type { InputRichMessageWithoutUpload, MessageEntity, RichText } from 'grammy/types';
import { lexer, type MarkedToken, type Token, type Tokens, walkTokens } from 'marked';

/** What Telegram takes as one message, in UTF-16 units of the visible text. */
export const MAX_TEXT_LENGTH = 4096;
export const MAX_CAPTION_LENGTH = 1024;
/** Longer Markdown is not parsed: no part of a reply is that long, and some texts take the square of their length. */
const MAX_PARSED_LENGTH = 8192;
/** More columns make a rich message malformed. */
const MAX_COLUMNS = 20;

/** One way to say a text; `plain` is the one that Telegram cannot find malformed. */
export type TextForm =
  | { kind: 'rich'; rich: InputRichMessageWithoutUpload }
  | { kind: 'html'; text: string; length: number }
  | { kind: 'plain'; text: string; entities: MessageEntity[] };

/**
 * The ways to say a text, best first; the last is always `plain` and shows the text as it is.
 * None of them pings anybody, embeds media that Telegram would fetch, or makes a button: what
 * would do so is shown as text.
 */
export function textForms(written: string, format: 'markdown' | 'text'): TextForm[] {
  // Half a character makes Telegram refuse every form.
  const content = written.toWellFormed();
  const plain: TextForm = { kind: 'plain', text: content, entities: findMentions(content) };
  if (format === 'text' || content.length > MAX_PARSED_LENGTH) return [plain];
  const rich = toRich(content);
  const html = toHtml(content);
  return [
    ...(rich === null ? [] : [{ kind: 'rich' as const, rich }]),
    ...(html === null ? [] : [{ kind: 'html' as const, ...html }]),
    plain,
  ];
}

/**
 * Markdown as a rich message. Telegram's own Markdown can do more than write: HTML makes buttons,
 * `![]()` makes Telegram fetch an address, `@name` and `tg:` ping, `$` and `||` eat text. Where
 * nothing of that may be in it, Telegram gets the text as it is; else as blocks that we made.
 * @returns null when it cannot be rendered, or would be empty.
 */
export function toRich(markdown: string): InputRichMessageWithoutUpload | null {
  return withoutOverflow(() => {
    const tokens = lexer(markdown);
    if (isEmpty(blocksOf(tokens, top))) return null;
    if (!active.test(markdown) && isClear(tokens)) return { markdown };
    const blocks = richBlocks(tokens);
    // Names only ping where Telegram looks for them; bare addresses are links of ours already.
    return { blocks, ...(markdown.includes('@') ? { skip_entity_detection: true } : {}) };
  });
}

/** What Telegram's Markdown may take for more than formatting. Wider than needed: it also finds what stands in code. */
const active = /[<@$]|!\[|==|\|\||\[\^|\]:|\](?=\()(?!\(https?:\/\/)/i;

/**
 * Whether Telegram reads a Markdown as it was read here: no mark is left over in its text and no
 * fence is open (it may refuse both), and no cell is beyond those of its table's head (nobody who
 * reads Markdown shows it).
 */
function isClear(tokens: Token[]): boolean {
  let clear = true;
  void walkTokens(tokens, (token) => {
    const [one] = known([token]);
    if (one?.type === 'table') clear &&= one.header.length <= MAX_COLUMNS && !isOverfull(one);
    if (one?.type === 'code') clear &&= isClosed(one) && codeInfo(one).title === '';
    if (one?.type === 'text') clear &&= one.tokens !== undefined || !/[*_~`[\]|\\]/.test(one.text);
  });
  return clear;
}

function isClosed(code: Tokens.Code): boolean {
  return code.codeBlockStyle === 'indented' || /\n *(```+|~~~+)\s*$/.test(code.raw);
}

/** A thousand quotations within each other are more than the stack takes: then null. */
function withoutOverflow<T>(run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function isOverfull(table: Tokens.Table): boolean {
  return table.raw.split('\n').some((line) => {
    const inner = line
      .trim()
      .replace(/^\|/, '')
      .replace(/(?<!\\)\|$/, '');
    return (inner.match(/(?<!\\)\|/g)?.length ?? 0) >= table.header.length;
  });
}

/**
 * Markdown as `parse_mode: HTML` of an ordinary message, with Telegram's tags only.
 * @returns null when it cannot be rendered, or would be empty; `length` counts as Telegram does.
 */
export function toHtml(markdown: string): { text: string; length: number } | null {
  const html = withoutOverflow(() => blocksOf(lexer(markdown), top));
  if (html === null || isEmpty(html)) return null;
  return { text: html, length: visibleText(html).length };
}

/** `@name`s of a plain text as code, where Telegram finds no mention: nobody is pinged, nothing is lost. */
export function findMentions(text: string): MessageEntity[] {
  return [...text.matchAll(/(?<!\w)@\w+/g)].slice(0, 100).map((match) => ({
    type: 'code',
    offset: match.index,
    length: match[0].length,
  }));
}

/** The text that an HTML of ours shows. */
export function visibleText(html: string): string {
  return html
    .replace(/<[^>]*>/g, '')
    .replace(/&(lt|gt|quot|amp);/g, (_, name: string) => entities[name] ?? '');
}

const entities: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  quot: '"',
  amp: '&',
  apos: "'",
  nbsp: '\u00a0',
};

function isEmpty(html: string): boolean {
  return visibleText(html).trim() === '';
}

type RichBlock = NonNullable<InputRichMessageWithoutUpload['blocks']>[number];

function richBlocks(tokens: readonly Token[]): RichBlock[] {
  return known(tokens).flatMap((token) => richBlock(token));
}

function richBlock(token: MarkedToken): RichBlock[] {
  switch (token.type) {
    case 'space':
      return [];
    case 'heading': {
      const size = ([1, 2, 3, 4, 5, 6] as const).find((depth) => depth === token.depth) ?? 6;
      return [{ type: 'heading', text: richText(token.tokens), size }];
    }
    case 'paragraph':
      return [{ type: 'paragraph', text: richText(token.tokens) }];
    case 'code': {
      const { language, title } = codeInfo(token);
      const titles: RichBlock[] = title === '' ? [] : [{ type: 'paragraph', text: title }];
      return token.text === ''
        ? titles
        : [...titles, { type: 'pre', text: token.text, ...(language && { language }) }];
    }
    case 'blockquote':
      return [{ type: 'blockquote', blocks: richBlocks(token.tokens) }];
    case 'list':
      return [richList(token)];
    case 'table':
      if (isOverfull(token)) return [{ type: 'pre', text: token.raw.trim() }];
      if (token.header.length > MAX_COLUMNS) return [{ type: 'pre', text: columnsOf(token) }];
      return [richTable(token)];
    case 'hr':
      return [{ type: 'divider' }];
    case 'html':
    case 'def':
      // Shown as they are written: a definition that nothing refers to would be lost.
      return paragraph(token.raw.trim());
    default:
      return paragraph(richText([token]));
  }
}

function paragraph(text: RichText): RichBlock[] {
  return text === '' ? [] : [{ type: 'paragraph', text }];
}

function richList(token: Tokens.List): RichBlock {
  const first = token.start === '' ? 1 : token.start;
  const items = token.items.map((item, index) => ({
    blocks: richBlocks(item.tokens.filter(({ type }) => type !== 'checkbox')),
    ...(token.ordered ? { value: first + index } : {}),
    ...(item.task ? { has_checkbox: true as const } : {}),
    ...(item.checked === true ? { is_checked: true as const } : {}),
  }));
  return { type: 'list', items };
}

function richTable(token: Tokens.Table): RichBlock {
  const cellOf = (cell: Tokens.TableCell) => ({
    text: richText(cell.tokens),
    align: cell.align ?? ('left' as const),
    valign: 'middle' as const,
    ...(cell.header ? { is_header: true as const } : {}),
  });
  const cells = [token.header, ...token.rows].map((row) => row.map(cellOf));
  return { type: 'table', cells, is_bordered: true };
}

function richText(tokens: readonly Token[]): RichText {
  const parts = known(tokens)
    .map((token) => richPart(token))
    .filter((part) => part !== '');
  return parts.length === 1 ? (parts[0] ?? '') : parts.length === 0 ? '' : parts;
}

function richPart(token: MarkedToken): RichText {
  switch (token.type) {
    case 'strong':
      return { type: 'bold', text: richText(token.tokens) };
    case 'em':
      return { type: 'italic', text: richText(token.tokens) };
    case 'del':
      return { type: 'strikethrough', text: richText(token.tokens) };
    case 'codespan':
      return { type: 'code', text: token.text };
    case 'link':
      return richLink(token.href, richText(token.tokens));
    case 'image':
      // A link, not a picture: Telegram would fetch it, and tell its address that somebody reads.
      return richLink(token.href, token.text === '' ? 'image' : token.text);
    case 'text':
      return token.tokens === undefined ? decodeEntities(token.text) : richText(token.tokens);
    default:
      return plainPart(token);
  }
}

function richLink(href: string, text: RichText): RichText {
  if (isShownAsLink(href)) return { type: 'url', text: text === '' ? href : text, url: href };
  const address = href.replace(/^mailto:/i, '');
  if (address === '' || text === address) return text;
  return text === '' ? address : [text, ` (${address})`];
}

/** What is text, whatever shows it. */
function plainPart(token: MarkedToken): string {
  switch (token.type) {
    case 'br':
      return '\n';
    case 'escape':
      return token.text;
    case 'html':
      return /^<br\s*\/?>$/i.test(token.text) ? '\n' : token.text;
    case 'checkbox':
      return token.checked ? '☑ ' : '☐ ';
    default:
      return token.raw;
  }
}

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

function blocksOf(tokens: readonly Token[], place: Place): string {
  const written = known(tokens).map((token) => block(token, place));
  return written.filter((text) => text !== '').join('\n\n');
}

/** The lexer's own kinds: there are no extensions that add others. */
function known(tokens: readonly Token[]): MarkedToken[] {
  return tokens as MarkedToken[];
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

/** The language of a code block; words that are none stand above it, or they would be lost. */
function codeInfo(token: Tokens.Code): { language: string; title: string } {
  const info = token.lang ?? '';
  const language = /^[\w+#.-]{1,40}(?=\s|$)/.exec(info)?.[0] ?? '';
  return { language, title: language === info ? '' : info };
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
function columnsOf(token: Tokens.Table): string {
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

/** Telegram silently drops links to hosts without a dot, and those with `tg:` ping people. */
function isShownAsLink(href: string): boolean {
  if (!URL.canParse(href)) return false;
  const { protocol, hostname } = new URL(href);
  return (protocol === 'http:' || protocol === 'https:') && hostname.includes('.');
}

/**
 * Text as it is. A name is code, where Telegram finds no mention; also in a link, which Telegram
 * may drop, and an `@` in front of a tag, for the name may go on behind it.
 */
function literal(text: string): string {
  return escape(text).replace(/(?<!\w)@(?:\w+|$)/g, '<code>$&</code>');
}

/** The entities that people write; others stay as they are written. */
function decodeEntities(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-z]{2,4}));/g,
    (whole, ...groups) => {
      const [decimal, hex, name] = groups as (string | undefined)[];
      if (name !== undefined) return entities[name] ?? whole;
      const code = decimal === undefined ? parseInt(hex ?? '', 16) : Number(decimal);
      const isCharacter = code >= 0x20 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
      return isCharacter ? String.fromCodePoint(code) : whole;
    },
  );
}

function escape(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');
}
