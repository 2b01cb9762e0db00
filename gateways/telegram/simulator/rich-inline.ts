import type { RichText } from 'grammy/types';
import { decodeCharacter, readEndTag, readStartTag } from './parse-html.ts';
import { cannotParse } from './refusal.ts';
import { RichLinks } from './rich-links.ts';
import { marks, roleOf, runLength } from './rich-marks.ts';
import {
  dateTime,
  isInlineTag,
  joined,
  link,
  MAX_DEPTH,
  moreEntities,
  wrapOfTag,
  type InlineContext,
} from './rich-text.ts';
import { readCode, readMath } from './rich-verbatim.ts';

/** Text of one block and where it stands in what the bot sent, for refusals. */
export interface InlineSource {
  text: string;
  /** `at byte offset N` of the whole message for a place in `text`. */
  where: (at: number) => string;
  /** How deep it lies in the links around it. */
  depth?: number;
}

interface Open {
  /** What ends it: a mark, or the name of a tag. */
  mark: string;
  isTag: boolean;
  name: string;
  wrap: (text: RichText) => RichText;
  begin: number;
  parts: RichText[];
}

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
  readonly #links: RichLinks;
  readonly #open: Open[] = [];
  readonly #root: RichText[] = [];
  #at = 0;

  constructor(source: InlineSource, context: InlineContext) {
    this.#source = source.text;
    this.#where = source.where;
    this.#links = new RichLinks(source.text, source.where);
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
      case '`': {
        const { part, end } = readCode(this.#source, this.#at, this.#where);
        return this.#add(part, end);
      }
      case '$': {
        const math = readMath(this.#source, this.#at);
        return this.#add(math?.part ?? '$', math?.end ?? this.#at + 1);
      }
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
    const read = this.#links.read(begin + 1);
    if (read === undefined) return this.#add('[', begin + 1);
    const text = this.#inner(begin + 1, read.textEnd);
    return this.#add(link(read.target, text, this.#context), read.end);
  }

  #image(): void {
    const begin = this.#at;
    const read = this.#links.read(begin + 2);
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

  #inner(begin: number, end: number): RichText {
    const depth = this.#depth + this.#open.length + 1;
    if (depth > MAX_DEPTH) throw tooDeep();
    const text = this.#source.slice(begin, end);
    return parseInline({ text, where: (at) => this.#where(begin + at), depth }, this.#context);
  }

  /** A run of one mark's character: it ends what is open, or begins something, or is just text. */
  #run(character: string): void {
    const begin = this.#at;
    const length = runLength(this.#source, begin);
    const isSingle = character === '*' || character === '_';
    const role = roleOf(this.#source, begin, begin + length, this.#isOpen('*'));
    let { canOpen } = role;
    let left = length;
    while (left > 0) {
      const inner = this.#open.at(-1);
      const size = inner?.mark.length ?? 0;
      const ends = inner !== undefined && !inner.isTag && inner.mark === character.repeat(size);
      if (role.canClose && ends && left >= size) {
        this.#close(this.#at + size);
        left -= size;
        canOpen = role.isLeft && left > 0;
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
}

function tooDeep(): Error {
  return cannotParse(`Text is nested in more than ${MAX_DEPTH} levels`);
}
