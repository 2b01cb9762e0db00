import type { RichText } from 'grammy/types';
import { checkedLink, userOfLink } from './links.ts';
import type { UserLookup } from './formatted-text.ts';
import {
  dateTimeFormat,
  decodeCharacter,
  readEndTag,
  readStartTag,
  styleTags,
} from './parse-html.ts';
import { cannotParse } from './refusal.ts';

/** Text of one block and where it stands in what the bot sent, for refusals. */
export interface InlineSource {
  text: string;
  /** `at byte offset N` of the whole message for a place in `text`. */
  where: (at: number) => string;
  /** How deep it lies in the links around it. */
  depth?: number;
}

export interface InlineContext {
  users: UserLookup;
  /** The names of all footnotes that the message defines. */
  footnotes: ReadonlySet<string>;
}

type Wrapping =
  | 'bold'
  | 'italic'
  | 'underline'
  | 'strikethrough'
  | 'spoiler'
  | 'marked'
  | 'subscript'
  | 'superscript'
  | 'code';

interface Open {
  /** What ends it: a mark, or the name of a tag. */
  mark: string;
  isTag: boolean;
  name: string;
  wrap: (text: RichText) => RichText;
  begin: number;
  parts: RichText[];
}

const marks = new Map<string, { type: Wrapping; name: string }>([
  ['**', { type: 'bold', name: 'Bold' }],
  ['__', { type: 'bold', name: 'Bold' }],
  ['*', { type: 'italic', name: 'Italic' }],
  ['_', { type: 'italic', name: 'Italic' }],
  ['~~', { type: 'strikethrough', name: 'Strikethrough' }],
  ['||', { type: 'spoiler', name: 'Spoiler' }],
  ['==', { type: 'marked', name: 'Marked' }],
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

/** How deep marks and tags may lie in each other. */
export const MAX_DEPTH = 16;

/**
 * Reads the text within a block of rich Markdown.
 * @throws Refusal `can't parse entities: …` for a mark or a tag without its end.
 */
export function parseInline(source: InlineSource, context: InlineContext): RichText {
  return new InlineReader(source, context).read();
}

class InlineReader {
  readonly #source: string;
  readonly #where: (at: number) => string;
  readonly #context: InlineContext;
  readonly #depth: number;
  readonly #open: Open[] = [];
  /** Where each `[` ends; made when the first one comes. */
  #brackets: ReadonlyMap<number, number> | undefined;
  readonly #root: RichText[] = [];
  #at = 0;

  constructor(source: InlineSource, context: InlineContext) {
    this.#source = source.text;
    this.#where = source.where;
    this.#depth = source.depth ?? 0;
    this.#context = context;
  }

  read(): RichText {
    while (this.#at < this.#source.length) this.#step();
    const left = this.#open.at(-1);
    if (left !== undefined) {
      throw left.isTag
        ? cannotParse(`Can't find end tag corresponding to start tag "${left.name}"`)
        : cannotParse(`Can't find end of ${left.name} entity ${this.#where(left.begin)}`);
    }
    return joined(this.#root);
  }

  #step(): void {
    const character = this.#source[this.#at] ?? '';
    const next = this.#source[this.#at + 1] ?? '';
    switch (character) {
      case '\\':
        return this.#escape(next);
      case '\n':
        return this.#lineEnd();
      case '`':
        return this.#code();
      case '$':
        return this.#math();
      case '&': {
        const decoded = decodeCharacter(this.#source, this.#at, moreEntities);
        return this.#add(decoded?.text ?? '&', decoded?.end ?? this.#at + 1);
      }
      case '<':
        return this.#angle(next);
      case '[':
        return this.#bracket();
      case '!':
        return next === '[' ? this.#image() : this.#add('!', this.#at + 1);
      case '*':
      case '_':
      case '~':
      case '|':
      case '=':
        return this.#run(character);
      default:
        return this.#add(character, this.#at + 1);
    }
  }

  #add(part: RichText, next: number): void {
    (this.#open.at(-1)?.parts ?? this.#root).push(part);
    this.#at = next;
  }

  #escape(next: string): void {
    if (next === '\n') this.#add('\n', this.#at + 2);
    else if (/[!-/:-@[-`{-~]/.test(next)) this.#add(next, this.#at + 2);
    else this.#add('\\', this.#at + 1);
  }

  /** A line's end is a space, unless two spaces stand before it. */
  #lineEnd(): void {
    const isHard = this.#source.slice(Math.max(0, this.#at - 2), this.#at) === '  ';
    let next = this.#at + 1;
    while (this.#source[next] === ' ') next++;
    this.#add(isHard ? '\n' : ' ', next);
  }

  #code(): void {
    const begin = this.#at;
    const length = this.#runLength('`', begin);
    const mark = '`'.repeat(length);
    let end = this.#source.indexOf(mark, begin + length);
    while (end >= 0 && this.#runLength('`', end) !== length) {
      end = this.#source.indexOf(mark, end + this.#runLength('`', end));
    }
    if (end < 0) throw cannotParse(`Can't find end of Code entity ${this.#where(begin)}`);
    const text = this.#source.slice(begin + length, end).replaceAll('\n', ' ');
    const isPadded = text.startsWith(' ') && text.endsWith(' ') && text.trim() !== '';
    this.#add({ type: 'code', text: isPadded ? text.slice(1, -1) : text }, end + length);
  }

  /** `$x$`, with nothing blank inside of the dollars and no digit after them: else a dollar is a dollar. */
  #math(): void {
    const begin = this.#at;
    const next = this.#source[begin + 1] ?? ' ';
    let end = -1;
    if (!/[\s$]/.test(next)) {
      end = this.#source.indexOf('$', begin + 1);
      while (end >= 0 && /[\s\\]/.test(this.#source[end - 1] ?? '')) {
        end = this.#source.indexOf('$', end + 1);
      }
    }
    if (end < 0 || /\d/.test(this.#source[end + 1] ?? '')) return this.#add('$', begin + 1);
    const expression = this.#source.slice(begin + 1, end);
    return this.#add({ type: 'mathematical_expression', expression }, end + 1);
  }

  #angle(next: string): void {
    const begin = this.#at;
    if (next === '/') return this.#endTag();
    if (!/[A-Za-z]/.test(next)) return this.#add('<', begin + 1);
    const auto = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/i.exec(
      this.#source.slice(begin, begin + 2100),
    );
    if (auto?.[1] !== undefined) {
      const shown = auto[1].replace(/^mailto:/i, '');
      return this.#add(link(auto[1], shown, this.#context), begin + auto[0].length);
    }
    const tag = this.#located(() => readStartTag(this.#source, begin, isInlineTag));
    if (tag.name === 'br') return this.#add('\n', tag.end);
    const name = tag.attributes.get('name');
    if (tag.name === 'a' && name !== undefined && !tag.attributes.has('href')) {
      const close = /^<\/a\s{0,9}>/i.exec(this.#source.slice(tag.end, tag.end + 16));
      if (close === null) throw cannotParse(`Anchor must be empty ${this.#where(begin)}`);
      return this.#add({ type: 'anchor', name }, tag.end + close[0].length);
    }
    if (tag.name === 'tg-math') {
      const end = this.#source.toLowerCase().indexOf('</tg-math>', tag.end);
      if (end < 0) {
        throw cannotParse(`Can't find end tag corresponding to start tag "tg-math"`);
      }
      const expression = this.#source.slice(tag.end, end);
      return this.#add({ type: 'mathematical_expression', expression }, end + 10);
    }
    this.#push({
      mark: tag.name,
      isTag: true,
      name: tag.name,
      wrap: wrapOfTag(tag.name, tag.attributes, this.#where(begin), this.#context),
      begin,
      parts: [],
    });
    this.#at = tag.end;
  }

  #endTag(): void {
    const begin = this.#at;
    const end = this.#located(() => readEndTag(this.#source, begin));
    const open = this.#open.at(-1);
    if (open === undefined) throw cannotParse(`Unexpected end tag ${this.#where(begin)}`);
    if (!open.isTag || open.name !== end.name) {
      const expected = open.isTag ? `</${open.name}>` : open.mark;
      throw cannotParse(
        `Unmatched end tag ${this.#where(begin)}, expected "${expected}", found "</${end.name}>"`,
      );
    }
    this.#close(end.end);
  }

  /** Faults of tags name a place in this text: in the message it is another one. */
  #located<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const reason = error.message.replace(/^Bad Request: can't parse entities: /, '');
      throw cannotParse(reason.replace(/at byte offset \d+$/, this.#where(this.#at)));
    }
  }

  #bracket(): void {
    const begin = this.#at;
    const note = /^\[\^([^\]\s]{1,64})\]/.exec(this.#source.slice(begin, begin + 70));
    if (note?.[1] !== undefined && this.#context.footnotes.has(note[1])) {
      const number = [...this.#context.footnotes].indexOf(note[1]) + 1;
      return this.#add(
        { type: 'reference_link', text: String(number), reference_name: note[1] },
        begin + note[0].length,
      );
    }
    const read = this.#readLink(begin + 1);
    if (read === undefined) return this.#add('[', begin + 1);
    const text = this.#inner(begin + 1, read.textEnd);
    return this.#add(link(read.target, text, this.#context), read.end);
  }

  #image(): void {
    const begin = this.#at;
    const read = this.#readLink(begin + 2);
    if (read === undefined) return this.#add('!', begin + 1);
    const shown = this.#source.slice(begin + 2, read.textEnd);
    const emoji = /^tg:\/\/emoji\?id=([1-9]\d{0,18})$/.exec(read.target)?.[1];
    if (emoji !== undefined) {
      const part = {
        type: 'custom_emoji',
        custom_emoji_id: emoji,
        alternative_text: shown,
      } as const;
      return this.#add(part, read.end);
    }
    const time = /^tg:\/\/time\?unix=(-?\d{1,12})(?:&format=([a-zA-Z]{0,4}))?$/.exec(read.target);
    if (time === null) {
      throw cannotParse(`Media can be specified only as a separate block ${this.#where(begin)}`);
    }
    const text = this.#inner(begin + 2, read.textEnd);
    const where = this.#where(begin);
    return this.#add(dateTime(text, time[1] ?? '', time[2] ?? '', where), read.end);
  }

  /** `text](target "title")` from `from` on; undefined: there is no link here. */
  #readLink(from: number): { textEnd: number; target: string; end: number } | undefined {
    this.#brackets ??= matchBrackets(this.#source);
    const textEnd = this.#brackets.get(from - 1);
    if (textEnd === undefined || this.#source[textEnd + 1] !== '(') return undefined;
    let at = textEnd + 1;
    const begin = at + 1;
    let target = '';
    let parentheses = 0;
    for (at = begin; at < this.#source.length; at++) {
      const character = this.#source[at];
      if (character === '\\' && /[!-/:-@[-`{-~]/.test(this.#source[at + 1] ?? '')) at++;
      else if (character === '(') parentheses++;
      else if (character === ')' && parentheses-- === 0) break;
      else if (character === '\n') break;
      target += this.#source[at];
    }
    if (this.#source[at] !== ')') {
      throw cannotParse(`Can't find end of a URL ${this.#where(begin)}`);
    }
    const [address = ''] = target.trim().split(/\s/, 1);
    return { textEnd, target: address.replace(/^<(.*)>$/, '$1'), end: at + 1 };
  }

  #inner(begin: number, end: number): RichText {
    const depth = this.#depth + this.#open.length + 1;
    if (depth > MAX_DEPTH) throw tooDeep();
    const text = this.#source.slice(begin, end);
    return parseInline({ text, where: (at) => this.#where(begin + at), depth }, this.#context);
  }

  /** A run of one mark's character: it ends what is open, or begins something, or is just text. */
  #run(character: string): void {
    const begin = this.#at;
    const length = this.#runLength(character, begin);
    const before = begin === 0 ? ' ' : (this.#source[begin - 1] ?? ' ');
    const after = this.#source[begin + length] ?? ' ';
    const isLeft = !isBlank(after) && (!isMark(after) || isBlank(before) || isMark(before));
    const isRight = !isBlank(before) && (!isMark(before) || isBlank(after) || isMark(after));
    const isSingle = character === '*' || character === '_';
    const isWithinWord = !isBlank(before) && !isMark(before) && !isBlank(after) && !isMark(after);
    let canOpen = isLeft;
    let canClose = isRight;
    if (character === '_' && isWithinWord) canOpen = canClose = false;
    // `2*3` is no beginning of anything.
    if (character === '*' && length === 1 && isWithinWord && !this.#isOpen('*')) canOpen = false;
    let left = length;
    while (left > 0) {
      const inner = this.#open.at(-1);
      const size = inner?.mark.length ?? 0;
      const ends = inner !== undefined && !inner.isTag && inner.mark === character.repeat(size);
      if (canClose && ends && left >= size) {
        this.#close(this.#at + size);
        left -= size;
        canOpen = isLeft && left > 0;
        continue;
      }
      const mark = left >= 2 ? character.repeat(2) : character;
      if (!canOpen || !(left >= 2 || isSingle)) {
        this.#add(character.repeat(left), this.#at + left);
        return;
      }
      const kind = marks.get(mark);
      if (kind === undefined) return;
      const { type, name } = kind;
      const wrap = (text: RichText): RichText => ({ type, text });
      this.#push({ mark, isTag: false, name, wrap, begin: this.#at, parts: [] });
      this.#at += mark.length;
      left -= mark.length;
    }
  }

  #isOpen(mark: string): boolean {
    return this.#open.some((open) => !open.isTag && open.mark === mark);
  }

  #push(open: Open): void {
    if (this.#depth + this.#open.length >= MAX_DEPTH) throw tooDeep();
    this.#open.push(open);
  }

  #close(next: number): void {
    const open = this.#open.pop();
    if (open !== undefined) this.#add(open.wrap(joined(open.parts)), next);
  }

  #runLength(character: string, from: number): number {
    let end = from;
    while (this.#source[end] === character) end++;
    return end - from;
  }
}

/** The end of each bracket that has one. */
function matchBrackets(source: string): Map<number, number> {
  const ends = new Map<number, number>();
  const open: number[] = [];
  for (let at = 0; at < source.length; at++) {
    const character = source[at];
    if (character === '\\') at++;
    else if (character === '[') open.push(at);
    else if (character === ']') {
      const begin = open.pop();
      if (begin !== undefined) ends.set(begin, at);
    }
  }
  return ends;
}

function tooDeep(): Error {
  return cannotParse(`Text is nested in more than ${MAX_DEPTH} levels`);
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

function dateTime(text: RichText, unix: string, format: string, where: string): RichText {
  const known = dateTimeFormat(format);
  if (!/^-?\d{1,12}$/.test(unix)) throw cannotParse(`Invalid date specified ${where}`);
  if (known === undefined) throw cannotParse(`Invalid date-time format specified ${where}`);
  return { type: 'date_time', text, unix_time: Number(unix), date_time_format: known };
}

/** What a link's target makes of its text; text alone where the target is none that Telegram takes. */
function link(target: string, text: RichText, context: InlineContext): RichText {
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

function isBlank(character: string): boolean {
  return /\s/.test(character);
}

function isMark(character: string): boolean {
  return /[\p{P}\p{S}]/u.test(character);
}
