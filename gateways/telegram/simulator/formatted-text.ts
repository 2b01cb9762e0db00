import type { MessageEntity, User } from 'grammy/types';
import { findEntities } from './find-entities.ts';
import { checkedLink } from './links.ts';
import { dateTimeEntity, parseHtml } from './parse-html.ts';
import { parseMarkdownV2 } from './parse-markdown-v2.ts';
import { badRequest, cannotParse } from './refusal.ts';
import { isObject, textOf, wholeNumber, type JsonObject } from './values.ts';

/** A text as people see it, and how parts of it look. Offsets count UTF-16 units. */
export interface FormattedText {
  text: string;
  entities: MessageEntity[];
}

/** Finds a user whom the bot may mention by id. */
export type UserLookup = (id: number) => User | undefined;

export interface FormatOptions {
  parseMode: string;
  entities: unknown;
  users: UserLookup;
  /** What the text is called when it is refused as empty; null: it may be empty. */
  emptyName: string | null;
}

/** Entities beyond this many are dropped, as Telegram does. */
const MAX_ENTITIES = 100;

/**
 * What becomes of a text that a bot sends: markup read, ends trimmed, entities put in order and
 * completed by those that Telegram finds itself.
 * @throws Refusal for markup that is not well formed, and for a text that is empty.
 */
export function formatText(source: string, options: FormatOptions): FormattedText {
  if (source === '' && options.emptyName !== null)
    throw badRequest(`${options.emptyName} is empty`);
  const parsed = parse(source.replaceAll('\r\n', '\n'), options);
  const trimmed = trim(parsed);
  if (trimmed.text === '' && options.emptyName !== null) {
    throw badRequest('text must be non-empty');
  }
  return { text: trimmed.text, entities: arrange(trimmed) };
}

function parse(source: string, { parseMode, entities, users }: FormatOptions): FormattedText {
  switch (parseMode.toLowerCase()) {
    case '':
    case 'none':
      return { text: source, entities: readEntities(entities, source, users) };
    case 'html':
      return parseHtml(source, users);
    case 'markdownv2':
      return parseMarkdownV2(source, users);
    default:
      throw badRequest('unsupported parse_mode');
  }
}

/** The entities that a bot gives itself, instead of markup. */
function readEntities(value: unknown, text: string, users: UserLookup): MessageEntity[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw badRequest("can't parse entities: expected an Array");
  return value.flatMap((entity: unknown) => {
    if (!isObject(entity)) throw badRequest("can't parse MessageEntity: expected an Object");
    const offset = wholeNumber(entity['offset']) ?? 0;
    const length = wholeNumber(entity['length']) ?? 0;
    if (offset < 0 || length <= 0 || offset + length > text.length) return [];
    const read = readEntity(entity, offset, length, users);
    return read === undefined ? [] : [read];
  });
}

function readEntity(
  entity: JsonObject,
  offset: number,
  length: number,
  users: UserLookup,
): MessageEntity | undefined {
  const { type } = entity;
  switch (type) {
    case 'bold':
    case 'italic':
    case 'underline':
    case 'strikethrough':
    case 'spoiler':
    case 'blockquote':
    case 'expandable_blockquote':
    case 'code':
      return { type, offset, length };
    case 'pre': {
      const { language } = entity;
      return { type, offset, length, ...(typeof language === 'string' ? { language } : {}) };
    }
    case 'text_link': {
      const given = textOf(entity['url']);
      const url = checkedLink(given);
      if (url === undefined) {
        throw badRequest(`entity URL '${given}' is invalid: Wrong HTTP URL`);
      }
      return { type, offset, length, url };
    }
    case 'text_mention': {
      const user = isObject(entity['user']) ? users(wholeNumber(entity['user']['id']) ?? 0) : null;
      return user == null ? undefined : { type, offset, length, user };
    }
    case 'custom_emoji':
      return { type, offset, length, custom_emoji_id: textOf(entity['custom_emoji_id']) };
    case 'date_time':
      return dateTimeEntity(
        textOf(entity['unix_time']),
        textOf(entity['date_time_format']),
        offset,
        length,
      );
    case 'mention':
    case 'hashtag':
    case 'cashtag':
    case 'bot_command':
    case 'url':
    case 'email':
    case 'phone_number':
      // Telegram finds these itself and does not believe the bot.
      return undefined;
    default:
      throw cannotParse(`Unsupported type "${textOf(type)}" of a MessageEntity`);
  }
}

/** Telegram drops white space at both ends; at the beginning only what is not within code. */
function trim({ text, entities }: FormattedText): FormattedText {
  const verbatim = entities.filter(({ type }) => type === 'pre' || type === 'code');
  const firstCode = Math.min(text.length, ...verbatim.map(({ offset }) => offset));
  const lead = Math.min(text.length - text.trimStart().length, firstCode);
  const end = text.trimEnd().length;
  if (end <= lead) return { text: '', entities: [] };
  return { text: text.slice(lead, end), entities: entities.flatMap((it) => cut(it, lead, end)) };
}

/** What is left of an entity within [begin, end), counted from `begin`. */
function cut<T extends MessageEntity>(entity: T, begin: number, end: number): T[] {
  const from = Math.max(entity.offset, begin);
  const to = Math.min(entity.offset + entity.length, end);
  return from < to ? [{ ...entity, offset: from - begin, length: to - from }] : [];
}

const isVerbatim = ({ type }: MessageEntity): boolean => type === 'pre' || type === 'code';

/** Nothing lies within code, a quotation not in a quotation; then what Telegram finds, then in order. */
function arrange({ text, entities }: FormattedText): MessageEntity[] {
  const code = entities.filter(isVerbatim);
  const outerCode = code.filter((it) => !code.some((other) => other !== it && contains(other, it)));
  const quotes = entities.filter(({ type }) => type.endsWith('blockquote'));
  const kept = entities
    .filter((it) => !isVerbatim(it))
    .filter((it) => !(quotes.includes(it) && quotes.some((o) => o !== it && contains(o, it))))
    .flatMap((it) => (it.type.endsWith('blockquote') ? [it] : without(it, outerCode)));
  const taken = [...outerCode, ...kept.filter(({ type }) => continuous.has(type))];
  const found = findEntities(text).filter((it) => !taken.some((other) => touches(other, it)));
  return [...outerCode, ...kept, ...found]
    .sort((a, b) => a.offset - b.offset || b.length - a.length || rank(a) - rank(b))
    .slice(0, MAX_ENTITIES);
}

const continuous = new Set(['text_link', 'text_mention', 'custom_emoji', 'date_time']);

const order = ['blockquote', 'expandable_blockquote', 'pre', 'bold', 'italic', 'underline'];

function rank({ type }: MessageEntity): number {
  const place = order.indexOf(type);
  return place < 0 ? order.length : place;
}

function without(entity: MessageEntity, holes: readonly MessageEntity[]): MessageEntity[] {
  let parts = [entity];
  for (const hole of holes) {
    parts = parts.flatMap((part) => {
      if (!touches(part, hole)) return [part];
      const before = { ...part, length: Math.max(0, hole.offset - part.offset) };
      const holeEnd = hole.offset + hole.length;
      const end = part.offset + part.length;
      const after = { ...part, offset: holeEnd, length: Math.max(0, end - holeEnd) };
      return [before, after].filter(({ length }) => length > 0);
    });
  }
  return parts;
}

function contains(outer: MessageEntity, inner: MessageEntity): boolean {
  return outer.offset <= inner.offset && outer.offset + outer.length >= inner.offset + inner.length;
}

function touches(a: MessageEntity, b: MessageEntity): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
