import type { MessageEntity } from 'grammy/types';
import type { FormattedText, UserLookup } from './formatted-text.ts';
import { dateTimeEntity, linkEntity, where } from './parse-html.ts';
import { cannotParse } from './refusal.ts';

type Kind =
  | 'Bold'
  | 'Italic'
  | 'Underline'
  | 'Strikethrough'
  | 'Spoiler'
  | 'Code'
  | 'Pre'
  | 'PreCode'
  | 'TextUrl'
  | 'CustomEmoji'
  | 'BlockQuote';

interface Open {
  kind: Kind;
  language: string;
  /** Length of the text before it. */
  offset: number;
  /** Where it begins in the source. */
  begin: number;
}

const simple = {
  Bold: 'bold',
  Italic: 'italic',
  Underline: 'underline',
  Strikethrough: 'strikethrough',
  Spoiler: 'spoiler',
  Code: 'code',
} as const;

/**
 * Reads the parse mode MarkdownV2 as Telegram's servers do.
 * @throws Refusal `can't parse entities: …` for what is not well formed.
 */
export function parseMarkdownV2(source: string, users: UserLookup): FormattedText {
  return new Reader(source, users).read();
}

class Reader {
  readonly #source: string;
  readonly #users: UserLookup;
  readonly #entities: MessageEntity[] = [];
  readonly #open: Open[] = [];
  #text = '';
  #at = 0;
  #isQuoted = false;

  constructor(source: string, users: UserLookup) {
    this.#source = source;
    this.#users = users;
  }

  read(): FormattedText {
    while (this.#at < this.#source.length) this.#step();
    if (this.#isQuoted && this.#open.at(-1)?.kind === 'BlockQuote') this.#closeQuote();
    const left = this.#open.at(-1);
    if (left !== undefined) throw this.#endless(left);
    return { text: this.#text, entities: this.#entities };
  }

  #step(): void {
    const character = this.#source[this.#at] ?? '';
    const next = this.#source[this.#at + 1] ?? '';
    if (character === '\\' && next >= '\u0001' && next <= '~') {
      this.#text += next;
      this.#at += 2;
      return;
    }
    const inner = this.#open.at(-1);
    const isVerbatim = inner !== undefined && ['Code', 'Pre', 'PreCode'].includes(inner.kind);
    if (!(isVerbatim ? '`' : '_*[]()~`>#+-=|{}.!\n').includes(character)) {
      this.#text += character;
      this.#at++;
    } else if (inner !== undefined && this.#endsHere(inner)) {
      this.#end(inner, character);
    } else {
      this.#begin(character);
    }
  }

  #endsHere(inner: Open): boolean {
    const here = (mark: string): boolean => this.#source.startsWith(mark, this.#at);
    if (this.#isQuoted && here('\n') && this.#source[this.#at + 1] !== '>') return true;
    switch (inner.kind) {
      case 'Bold':
        return here('*');
      case 'Italic':
        return here('_') && !here('__');
      case 'Underline':
        return here('__');
      case 'Strikethrough':
        return here('~');
      case 'Spoiler':
        return here('||');
      case 'Code':
        return here('`');
      case 'Pre':
      case 'PreCode':
        return here('```');
      case 'TextUrl':
      case 'CustomEmoji':
        return here(']');
      case 'BlockQuote':
        return false;
    }
  }

  #begin(character: string): void {
    const begin = this.#at;
    const push = (kind: Kind, length: number, language = ''): void => {
      this.#at += length;
      this.#open.push({ kind, language, offset: this.#text.length, begin });
    };
    const here = (mark: string): boolean => this.#source.startsWith(mark, begin);
    if (here('__')) push('Underline', 2);
    else if (character === '_') push('Italic', 1);
    // `**>` begins an expandable quotation right after another one: an empty bold, then the quotation.
    else if (here('**>') && this.#isLineStart(begin)) push('BlockQuote', 3, 'expandable');
    else if (character === '*') push('Bold', 1);
    else if (character === '~') push('Strikethrough', 1);
    else if (here('||')) {
      if (this.#endsExpandableQuote()) this.#at += 2;
      else push('Spoiler', 2);
    } else if (character === '[') push('TextUrl', 1);
    else if (here('![')) push('CustomEmoji', 2);
    else if (here('```')) this.#beginPre(push);
    else if (character === '`') push('Code', 1);
    else if (character === '\n') this.#lineEnd(push);
    else if (character === '>' && begin === 0) push('BlockQuote', 1);
    else {
      throw cannotParse(
        `Character '${character}' is reserved and must be escaped with the preceding '\\'`,
      );
    }
    if (this.#open.at(-1)?.kind === 'BlockQuote') this.#isQuoted = true;
  }

  #beginPre(push: (kind: Kind, length: number, language?: string) => void): void {
    const head = /^```([^\s`]*)(?=[\s`]|$)/.exec(this.#source.slice(this.#at, this.#at + 200));
    const language = head?.[1] ?? '';
    const after = this.#at + 3 + language.length;
    const isCode = language !== '' && after < this.#source.length && this.#source[after] !== '`';
    const begin = isCode ? after : this.#at + 3;
    const lineEnd = /^(?:\r\n|\n\r|\n|\r)/.exec(this.#source.slice(begin, begin + 2))?.[0] ?? '';
    push(isCode ? 'PreCode' : 'Pre', begin + lineEnd.length - this.#at, isCode ? language : '');
  }

  #lineEnd(push: (kind: Kind, length: number, language?: string) => void): void {
    this.#text += '\n';
    if (this.#source[this.#at + 1] !== '>') this.#at++;
    else if (this.#isQuoted) this.#at += 2;
    else push('BlockQuote', 2);
  }

  #isLineStart(at: number): boolean {
    return !this.#isQuoted && (at === 0 || this.#source[at - 1] === '\n');
  }

  /** `||` at the end of a quotation's last line makes it expandable. */
  #endsExpandableQuote(): boolean {
    const inner = this.#open.at(-1);
    const after = this.#source.slice(this.#at + 2, this.#at + 4);
    const ends = after === '' || (after.startsWith('\n') && after[1] !== '>');
    if (inner?.kind !== 'BlockQuote' || !ends) return false;
    inner.language = 'expandable';
    return true;
  }

  #end(inner: Open, character: string): void {
    if (character === '\n') {
      if (inner.kind !== 'BlockQuote') throw this.#endless(inner);
      this.#closeQuote();
      this.#text += '\n';
      this.#at++;
      return;
    }
    this.#open.pop();
    const { offset } = inner;
    const length = this.#text.length - offset;
    const add = (entity: MessageEntity | undefined): void => {
      if (entity !== undefined && length > 0) this.#entities.push(entity);
    };
    switch (inner.kind) {
      case 'Bold':
      case 'Italic':
      case 'Strikethrough':
      case 'Code':
        this.#at++;
        return add({ type: simple[inner.kind], offset, length });
      case 'Underline':
      case 'Spoiler':
        this.#at += 2;
        return add({ type: simple[inner.kind], offset, length });
      case 'Pre':
      case 'PreCode': {
        this.#at += 3;
        const { language } = inner;
        return add({ type: 'pre', offset, length, ...(language === '' ? {} : { language }) });
      }
      case 'TextUrl': {
        this.#at++;
        const target = this.#readTarget('URL') ?? this.#text.slice(offset);
        return add(linkEntity(target, offset, length, this.#users));
      }
      case 'CustomEmoji': {
        this.#at++;
        const target = this.#readTarget('custom emoji URL');
        return add(specialEntity(target ?? '', offset, length));
      }
      case 'BlockQuote':
        return;
    }
  }

  /** The `(…)` after a text in brackets. */
  #readTarget(what: string): string | undefined {
    if (this.#source[this.#at] !== '(') return undefined;
    const begin = ++this.#at;
    let target = '';
    while (this.#at < this.#source.length && this.#source[this.#at] !== ')') {
      if (this.#source[this.#at] === '\\' && this.#at + 1 < this.#source.length) this.#at++;
      target += this.#source[this.#at];
      this.#at++;
    }
    if (this.#source[this.#at] !== ')') {
      throw cannotParse(`Can't find end of a ${what} ${where(this.#source, begin)}`);
    }
    this.#at++;
    return target;
  }

  #closeQuote(): void {
    const quote = this.#open.pop();
    this.#isQuoted = false;
    if (quote === undefined) return;
    const { offset } = quote;
    const length = this.#text.length - offset;
    const type = quote.language === 'expandable' ? 'expandable_blockquote' : 'blockquote';
    if (length > 0) this.#entities.push({ type, offset, length });
  }

  #endless(open: Open): Error {
    return cannotParse(`Can't find end of ${open.kind} entity ${where(this.#source, open.begin)}`);
  }
}

/** `![text](tg://emoji?id=…)` and `![text](tg://time?unix=…&format=…)`. */
function specialEntity(target: string, offset: number, length: number): MessageEntity {
  const emoji = /^tg:\/\/emoji\?id=([1-9]\d{0,18})$/.exec(target)?.[1];
  if (emoji !== undefined) return { type: 'custom_emoji', offset, length, custom_emoji_id: emoji };
  const time = /^tg:\/\/time\?unix=(-?\d{1,12})(?:&format=([a-zA-Z]{0,4}))?$/.exec(target);
  if (time !== null) return dateTimeEntity(time[1] ?? '', time[2] ?? '', offset, length);
  throw cannotParse('Custom emoji entity must contain a tg://emoji URL');
}
