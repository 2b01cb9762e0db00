import type { MessageEntity } from 'grammy/types';
import { checkedLink, userOfLink } from './links.ts';
import { cannotParse } from './refusal.ts';
import type { FormattedText, UserLookup } from './formatted-text.ts';

/** The tags that mean a style wherever HTML is read. */
export const styleTags = [
  ['b', 'bold'],
  ['strong', 'bold'],
  ['i', 'italic'],
  ['em', 'italic'],
  ['u', 'underline'],
  ['ins', 'underline'],
  ['s', 'strikethrough'],
  ['strike', 'strikethrough'],
  ['del', 'strikethrough'],
  ['tg-spoiler', 'spoiler'],
  ['code', 'code'],
] as const;

/** The tags of the parse mode HTML, and what each means. */
const tags = new Map<string, MessageEntity['type']>([
  ...styleTags,
  ['span', 'spoiler'],
  ['a', 'text_link'],
  ['tg-emoji', 'custom_emoji'],
  ['tg-time', 'date_time'],
  ['pre', 'pre'],
  ['blockquote', 'blockquote'],
]);

const named = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
]);

interface OpenTag {
  name: string;
  attributes: Map<string, string>;
  /** Length of the text before it. */
  offset: number;
  /** Of a `pre`: the `code` that begins where it begins. */
  code?: { language: string | undefined; length: number };
}

/**
 * Reads the parse mode HTML as Telegram's servers do.
 * @throws Refusal `can't parse entities: …` for what is not well formed.
 */
export function parseHtml(source: string, users: UserLookup): FormattedText {
  let text = '';
  const entities: MessageEntity[] = [];
  const open: OpenTag[] = [];
  let at = 0;
  while (at < source.length) {
    const character = source[at];
    if (character === '&') {
      const decoded = decodeCharacter(source, at);
      text += decoded?.text ?? '&';
      at = decoded?.end ?? at + 1;
    } else if (character !== '<') {
      text += character;
      at++;
    } else if (source[at + 1] === '/') {
      const end = readEndTag(source, at);
      const tag = open.pop();
      if (tag === undefined) throw cannotParse(`Unexpected end tag ${where(source, at)}`);
      if (end.name !== '' && end.name !== tag.name) {
        throw cannotParse(
          `Unmatched end tag ${where(source, at)}, expected "</${tag.name}>", found "</${end.name}>"`,
        );
      }
      const entity = toEntity(tag, text, open, users);
      if (entity !== undefined) entities.push(entity);
      at = end.end;
    } else {
      const tag = readStartTag(source, at, (name) => tags.has(name));
      if (tag.name === 'span' && tag.attributes.get('class') !== 'tg-spoiler') {
        throw cannotParse(`Tag "span" must have class "tg-spoiler" ${where(source, at)}`);
      }
      open.push({ name: tag.name, attributes: tag.attributes, offset: text.length });
      at = tag.end;
    }
  }
  const left = open.at(-1);
  if (left !== undefined) {
    throw cannotParse(`Can't find end tag corresponding to start tag "${left.name}"`);
  }
  if (!text.isWellFormed()) {
    throw cannotParse(
      'Text contains invalid Unicode characters after decoding HTML entities, check for unmatched surrogate code units',
    );
  }
  return { text, entities };
}

/** One entity for a tag that is closed; none where it covers nothing or its link is no link. */
function toEntity(
  tag: OpenTag,
  text: string,
  outer: readonly OpenTag[],
  users: UserLookup,
): MessageEntity | undefined {
  const { offset } = tag;
  const length = text.length - offset;
  if (length === 0) return undefined;
  const type = tags.get(tag.name);
  switch (type) {
    case 'text_link':
      return linkEntity(tag.attributes.get('href') || text.slice(offset), offset, length, users);
    case 'custom_emoji': {
      const id = tag.attributes.get('emoji-id') ?? '';
      if (!/^[1-9]\d{0,18}$/.test(id)) {
        throw cannotParse('Invalid custom emoji identifier specified');
      }
      return { type, offset, length, custom_emoji_id: id };
    }
    case 'date_time':
      return dateTimeEntity(
        tag.attributes.get('unix') ?? '',
        tag.attributes.get('format') ?? '',
        offset,
        length,
      );
    case 'code': {
      // `<pre><code class="language-x">` is one entity: the `pre` takes the language.
      const parent = outer.at(-1);
      const language = /^language-(.+)$/.exec(tag.attributes.get('class') ?? '')?.[1];
      if (parent?.name !== 'pre' || parent.offset !== offset) return { type, offset, length };
      parent.code = { language, length };
      return undefined;
    }
    case 'pre': {
      const language = tag.code?.length === length ? tag.code.language : undefined;
      return { type, offset, length, ...(language === undefined ? {} : { language }) };
    }
    case 'blockquote':
      return {
        type: tag.attributes.has('expandable') ? 'expandable_blockquote' : 'blockquote',
        offset,
        length,
      };
    case 'bold':
    case 'italic':
    case 'underline':
    case 'strikethrough':
    case 'spoiler':
      return { type, offset, length };
    default:
      return undefined;
  }
}

/** A link to an address, or the mention of a user whom the bot knows. */
export function linkEntity(
  target: string,
  offset: number,
  length: number,
  users: UserLookup,
): MessageEntity | undefined {
  const id = userOfLink(target);
  if (id !== undefined) {
    const user = users(id);
    return user === undefined ? undefined : { type: 'text_mention', offset, length, user };
  }
  const url = checkedLink(target);
  return url === undefined ? undefined : { type: 'text_link', offset, length, url };
}

/** A date that the reader's app writes in the reader's way. */
export function dateTimeEntity(
  unix: string,
  format: string,
  offset: number,
  length: number,
): MessageEntity.DateTimeMessageEntity {
  if (!/^-?\d{1,12}$/.test(unix)) throw cannotParse('Invalid date specified');
  const known = dateTimeFormat(format);
  if (known === undefined) throw cannotParse('Invalid date-time format specified');
  return { type: 'date_time', offset, length, unix_time: Number(unix), date_time_format: known };
}

/** `r`, or any of `w`, one of `dD` and one of `tT`, in that order. */
export function dateTimeFormat(
  format: string,
): MessageEntity.DateTimeMessageEntity['date_time_format'] | undefined {
  const formats: MessageEntity.DateTimeMessageEntity['date_time_format'][] = [
    ...(['r', '', 'w', 'd', 'D', 't', 'T', 'wd', 'wD', 'wt', 'wT'] as const),
    ...(['dt', 'dT', 'Dt', 'DT', 'wdt', 'wdT', 'wDt', 'wDT'] as const),
  ];
  return formats.find((known) => known === format);
}

/**
 * Reads `<name attributes>` at `begin`.
 * @throws Refusal for a tag that is not taken or not closed.
 */
export function readStartTag(
  source: string,
  begin: number,
  isTaken: (name: string) => boolean,
): { name: string; attributes: Map<string, string>; isClosed: boolean; end: number } {
  let at = begin + 1;
  while (at < source.length && !isSpace(source[at]) && source[at] !== '>') at++;
  if (at >= source.length) throw cannotParse(`Unclosed start tag ${where(source, begin)}`);
  let name = source.slice(begin + 1, at).toLowerCase();
  let isClosed = false;
  if (name.endsWith('/') && isTaken(name.slice(0, -1))) {
    name = name.slice(0, -1);
    isClosed = true;
  }
  if (!isTaken(name)) {
    throw cannotParse(`Unsupported start tag "${name}" ${where(source, begin)}`);
  }
  const attributes = new Map<string, string>();
  for (;;) {
    while (isSpace(source[at])) at++;
    if (at >= source.length) throw cannotParse(`Unclosed start tag ${where(source, begin)}`);
    if (source[at] === '>') return { name, attributes, isClosed, end: at + 1 };
    if (source[at] === '/' && source[at + 1] === '>') {
      return { name, attributes, isClosed: true, end: at + 2 };
    }
    const nameBegin = at;
    while (at < source.length && !isSpace(source[at]) && !'=>/'.includes(source[at] ?? '')) at++;
    const attribute = source.slice(nameBegin, at).toLowerCase();
    if (attribute === '') {
      throw cannotParse(`Empty attribute name in the tag "${name}" ${where(source, begin)}`);
    }
    while (isSpace(source[at])) at++;
    if (source[at] !== '=') {
      if (!flags.has(attribute)) {
        throw cannotParse(
          `Expected equal sign in declaration of an attribute of the tag "${name}" ${where(source, begin)}`,
        );
      }
      attributes.set(attribute, '');
      continue;
    }
    at++;
    while (isSpace(source[at])) at++;
    const value = readAttributeValue(source, at, begin);
    attributes.set(attribute, value.text);
    at = value.end;
  }
}

/** Attributes that need no value. */
const flags = new Set(
  'expandable open checked reversed bordered striped compact tg-spoiler'.split(' '),
);

function readAttributeValue(
  source: string,
  from: number,
  tag: number,
): { text: string; end: number } {
  const quote = source[from];
  if (quote !== '"' && quote !== "'") {
    let at = from;
    while (/[A-Za-z0-9.-]/.test(source[at] ?? '')) at++;
    if (!isSpace(source[at]) && source[at] !== '>') {
      throw cannotParse(`Unexpected end of name token ${where(source, from)}`);
    }
    return { text: source.slice(from, at).toLowerCase(), end: at };
  }
  let text = '';
  let at = from + 1;
  while (at < source.length && source[at] !== quote) {
    const decoded = source[at] === '&' ? decodeCharacter(source, at) : undefined;
    text += decoded?.text ?? source[at];
    at = decoded?.end ?? at + 1;
  }
  if (at >= source.length) throw cannotParse(`Unclosed start tag ${where(source, tag)}`);
  return { text, end: at + 1 };
}

/** Reads `</name>` at `begin`. */
export function readEndTag(source: string, begin: number): { name: string; end: number } {
  let at = begin + 2;
  while (at < source.length && !isSpace(source[at]) && source[at] !== '>') at++;
  const name = source.slice(begin + 2, at).toLowerCase();
  while (isSpace(source[at])) at++;
  if (source[at] !== '>') throw cannotParse(`Unclosed end tag ${where(source, begin)}`);
  return { name, end: at + 1 };
}

/** The character that `&…;` at `at` stands for; undefined: it is an ordinary ampersand. */
export function decodeCharacter(
  source: string,
  at: number,
  more?: ReadonlyMap<string, string>,
): { text: string; end: number } | undefined {
  const match = /^&(?:#x([0-9a-f]{1,7})|#(\d{1,8})|([a-z]{1,8}));?/i.exec(
    source.slice(at, at + 12),
  );
  if (match === null) return undefined;
  const [whole, hex, decimal, name] = match;
  if (name !== undefined) {
    const text = named.get(name) ?? more?.get(name);
    return text === undefined ? undefined : { text, end: at + whole.length };
  }
  const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
  if (code === 0 || code >= 0x10_ffff) return undefined;
  return { text: String.fromCodePoint(code), end: at + whole.length };
}

/** Where in the text, as Telegram says it: in bytes of UTF-8. */
export function where(source: string, at: number): string {
  return `at byte offset ${Buffer.byteLength(source.slice(0, at))}`;
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && ' \t\r\n\0\v'.includes(character);
}
