import type { RichText } from 'grammy/types';
import type { UserLookup } from './formatted-text.ts';
import { checkedLink, userOfLink } from './links.ts';
import { dateTimeFormat, styleTags } from './parse-html.ts';
import { cannotParse } from './refusal.ts';

/** What the text of a message may refer to. */
export interface InlineContext {
  users: UserLookup;
  /** The names of all footnotes that the message defines. */
  footnotes: ReadonlySet<string>;
}

/** What text is written as, and nothing else is said of it. */
export type Wrapping =
  | 'bold'
  | 'italic'
  | 'underline'
  | 'strikethrough'
  | 'spoiler'
  | 'marked'
  | 'subscript'
  | 'superscript'
  | 'code';

/** How deep blocks, and marks and tags in one of them, may lie in each other. */
export const MAX_DEPTH = 16;

/** Named characters that rich messages take besides those of the parse mode HTML. */
export const moreEntities: ReadonlyMap<string, string> = new Map([
  ['apos', "'"],
  ['nbsp', '\u00a0'],
  ['hellip', '…'],
  ['mdash', '—'],
  ['ndash', '–'],
  ['lsquo', '‘'],
  ['rsquo', '’'],
  ['ldquo', '“'],
  ['rdquo', '”'],
]);

const wrappingTags = new Map<string, Wrapping>([
  ...styleTags,
  ['mark', 'marked'],
  ['sub', 'subscript'],
  ['sup', 'superscript'],
]);
const otherTags = new Set(['a', 'br', 'tg-emoji', 'tg-time', 'tg-math', 'tg-reference']);

/** Whether a tag stands within text. */
export function isInlineTag(name: string): boolean {
  return wrappingTags.has(name) || otherTags.has(name);
}

/** What a tag makes of the text in it. */
export function wrapOfTag(
  name: string,
  attributes: ReadonlyMap<string, string>,
  where: string,
  context: InlineContext,
): (text: RichText) => RichText {
  const type = wrappingTags.get(name);
  if (type !== undefined) return (text) => ({ type, text });
  switch (name) {
    case 'a': {
      const target = attributes.get('href') ?? '';
      return (text) => link(target, text, context);
    }
    case 'tg-reference':
      return (text) => ({ type: 'reference', text, name: attributes.get('name') ?? '' });
    case 'tg-emoji': {
      const id = attributes.get('emoji-id') ?? '';
      if (!/^[1-9]\d{0,18}$/.test(id))
        throw cannotParse('Invalid custom emoji identifier specified');
      return (text) => ({
        type: 'custom_emoji',
        custom_emoji_id: id,
        alternative_text: typeof text === 'string' ? text : '',
      });
    }
    default:
      return (text) =>
        dateTime(text, attributes.get('unix') ?? '', attributes.get('format') ?? '', where);
  }
}

/** A date that is shown in the reader's own way. */
export function dateTime(text: RichText, unix: string, format: string, where: string): RichText {
  const known = dateTimeFormat(format);
  if (!/^-?\d{1,12}$/.test(unix)) throw cannotParse(`Invalid date specified ${where}`);
  if (known === undefined) throw cannotParse(`Invalid date-time format specified ${where}`);
  return { type: 'date_time', text, unix_time: Number(unix), date_time_format: known };
}

/** What a link's target makes of its text; text alone where the target is none that Telegram takes. */
export function link(target: string, text: RichText, context: InlineContext): RichText {
  if (target.startsWith('#')) {
    const name = target.slice(1);
    return { type: 'anchor_link', text, anchor_name: name };
  }
  const email = /^mailto:(.{1,320})$/i.exec(target)?.[1];
  if (email !== undefined) return { type: 'email_address', text, email_address: email };
  const phone = /^tel:(.{1,32})$/i.exec(target)?.[1];
  if (phone !== undefined) return { type: 'phone_number', text, phone_number: phone };
  const id = userOfLink(target);
  if (id !== undefined) {
    const user = context.users(id);
    return user === undefined ? text : { type: 'text_mention', text, user };
  }
  const url = checkedLink(target);
  return url === undefined ? text : { type: 'url', text, url };
}

/** Neighbouring strings as one, and one part alone without its list. */
export function joined(parts: readonly RichText[]): RichText {
  const whole: RichText[] = [];
  let pieces: string[] = [];
  const flush = (): void => {
    if (pieces.length > 0) whole.push(pieces.join(''));
    pieces = [];
  };
  for (const part of parts) {
    if (typeof part === 'string') pieces.push(part);
    else {
      flush();
      whole.push(part);
    }
  }
  flush();
  const [first] = whole;
  return whole.length === 1 && first !== undefined ? first : whole.length === 0 ? '' : whole;
}
