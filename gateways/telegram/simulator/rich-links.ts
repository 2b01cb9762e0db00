import { cannotParse } from './refusal.ts';

/** A link as it is written: where its text ends, where it leads to, and where it ends itself. */
interface WrittenLink {
  textEnd: number;
  target: string;
  end: number;
}

/** The links of a text in rich Markdown, where there are some. */
export class RichLinks {
  readonly #source: string;
  readonly #where: (at: number) => string;
  /** Where each `[` ends; made when the first one comes. */
  #brackets: ReadonlyMap<number, number> | undefined;

  constructor(source: string, where: (at: number) => string) {
    this.#source = source;
    this.#where = where;
  }

  /**
   * Reads `text](target "title")` from `from` on, right behind its `[`.
   * @returns undefined: there is no link here.
   * @throws Refusal `can't parse entities: …` for a target without its end.
   */
  read(from: number): WrittenLink | undefined {
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
