import { CommandBuilder, type Redirect, type SimpleCommand } from './command-builder.ts';

/** The lines that `<<` gives to a command. */
export interface HereDocument {
  text: string;
  /** Whether the shell carries out the substitutions in it. */
  expands: boolean;
}

/** What was found in a command line. */
export interface ShellReading {
  commands: SimpleCommand[];
  documents: HereDocument[];
  /** Whether everything that was opened was closed. */
  clean: boolean;
}

/** The signs behind which the next word is no file. */
const GIVES: ReadonlyMap<string, Redirect> = new Map([
  ['<<<', 'text'],
  ['<<', 'document'],
  ['<<-', 'indented document'],
]);

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  E: '\x1b',
  f: '\f',
  v: '\v',
};

/**
 * The simple commands of a command line, as far as they can be found without running it: in chains,
 * substitutions and groups, with their quotes taken off and the values of variables set in the same
 * line put in. It would rather find too many than too few. Linear in the text's length, and never
 * fails.
 */
export function readShell(text: string): ShellReading {
  return new ShellReader(text).read();
}

class ShellReader {
  readonly #text: string;
  readonly #builder = new CommandBuilder();
  readonly #documents: HereDocument[] = [];
  #at = 0;
  #clean = true;

  constructor(text: string) {
    this.#text = text;
  }

  read(): ShellReading {
    while (this.#at < this.#text.length) {
      if (this.#builder.frame.inQuotes) this.#inQuotes();
      else this.#bare();
    }
    const { commands, clean } = this.#builder.end();
    return { commands, documents: this.#documents, clean: clean && this.#clean };
  }

  #inQuotes(): void {
    const char = this.#text.charAt(this.#at);
    const next = this.#text.charAt(this.#at + 1);
    if (char === '"') {
      this.#builder.frame.inQuotes = false;
      this.#at += 1;
    } else if (char === '\\') {
      this.#at += 2;
      if (next !== '\n') this.#builder.add('$`"\\'.includes(next) ? next : char + next);
    } else if (!this.#expansion(char)) {
      this.#builder.add(char);
      this.#at += 1;
    }
  }

  #bare(): void {
    const frame = this.#builder.frame;
    const text = this.#text;
    const char = text.charAt(this.#at);
    switch (char) {
      case ' ':
      case '\t':
        this.#builder.endWord();
        break;
      case '\n':
        this.#builder.endCommand(false);
        this.#readDocuments();
        break;
      case ';':
      case '&':
        this.#builder.endCommand(false);
        break;
      case '|':
        // `||` ends a command, too, and what is behind it reads nothing.
        this.#builder.endCommand(text[this.#at + 1] !== '|' && text[this.#at - 1] !== '|');
        break;
      case '(':
        frame.redirect = null;
        if (frame.word === null) this.#builder.endCommand(frame.piped);
        this.#builder.open(')');
        break;
      case ')':
        if (frame.closer === ')') this.#builder.close();
        else this.#builder.endCommand(false);
        break;
      case '<':
      case '>':
        this.#redirection();
        return;
      case "'": {
        const end = text.indexOf("'", this.#at + 1);
        frame.quoted = true;
        if (end === -1) this.#clean = false;
        this.#builder.add(text.slice(this.#at + 1, end === -1 ? undefined : end));
        this.#at = end === -1 ? text.length : end;
        break;
      }
      case '"':
        this.#builder.add('');
        frame.quoted = true;
        frame.inQuotes = true;
        break;
      case '\\':
        this.#at += 1;
        frame.quoted = true;
        if (text[this.#at] !== '\n') this.#builder.add(text.charAt(this.#at));
        break;
      case '#':
        if (frame.word === null) this.#comment();
        else this.#builder.add(char);
        break;
      default:
        if (this.#expansion(char)) return;
        if (char === '{') frame.braced = true;
        this.#builder.add(char);
    }
    this.#at += 1;
  }

  /** Goes to the end of the line, or to where the substitution in backticks ends. */
  #comment(): void {
    const end = this.#builder.frame.closer === '`' ? /[\n`]|$/g : /\n|$/g;
    end.lastIndex = this.#at;
    this.#at = (end.exec(this.#text)?.index ?? this.#text.length) - 1;
  }

  /** `<`, `>`, `>>`, `<<<`, `2>&1` …; what stands before it as a number is a part of it. */
  #redirection(): void {
    const sign = /[<>]+[&|]?-?/y;
    sign.lastIndex = this.#at;
    const found = sign.exec(this.#text)?.[0] ?? '<';
    this.#builder.redirect(GIVES.get(found) ?? 'file');
    this.#at += found.length;
  }

  /** Goes over the here-documents behind the end of a line, to the end of the last one's last line. */
  #readDocuments(): void {
    for (const { end, indented, expands } of this.#builder.takeAwaited()) {
      const from = this.#at + 1;
      let line: string | null = null;
      let start = from;
      while (line !== end && this.#at < this.#text.length) {
        start = this.#at + 1;
        const next = this.#text.indexOf('\n', start);
        this.#at = next === -1 ? this.#text.length : next;
        line = this.#text.slice(start, this.#at);
        if (indented) line = line.replace(/^\t+/, '');
      }
      if (line !== end) this.#clean = false;
      this.#documents.push({ text: this.#text.slice(from, start), expands });
    }
  }

  /** Whether something is put in here; if so, goes behind what stands for it. */
  #expansion(char: string): boolean {
    const frame = this.#builder.frame;
    if (char === '`') {
      if (frame.closer === '`') this.#builder.close();
      else this.#builder.open('`');
      this.#at += 1;
      return true;
    }
    if (char === '}' && frame.expansions > 0) {
      frame.expansions -= 1;
      this.#at += 1;
      return true;
    }
    if (char !== '$') return false;
    const next = this.#text.charAt(this.#at + 1);
    if (next === '(') {
      this.#builder.open(')');
      this.#at += 2;
      return true;
    }
    if (!frame.inQuotes && next === "'") {
      this.#at += 2;
      this.#escaped();
      return true;
    }
    if (!frame.inQuotes && next === '"') {
      this.#at += 1;
      return true;
    }
    const named =
      /\$(?:\{!?([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])|([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]))/y;
    named.lastIndex = this.#at;
    const found = named.exec(this.#text);
    if (found === null) return false;
    this.#at += found[0].length;
    const [, inBraces, plain] = found;
    this.#builder.put(inBraces ?? plain ?? '');
    if (inBraces !== undefined) this.#restOfBraces();
    return true;
  }

  /** Behind `${name`: what is to be done with the value is left out, a value in its place is kept. */
  #restOfBraces(): void {
    const rest = /:?[-=+?]/y;
    rest.lastIndex = this.#at;
    const instead = rest.exec(this.#text);
    if (instead !== null) this.#at += instead[0].length;
    this.#builder.frame.expansions += 1;
    if (instead !== null || this.#text[this.#at] === '}') return;
    // `${x#…}`, `${x:0:1}` …: the text there is no part of the word, unless it opens something.
    const end = /[^}$`"'\\()\n]*/y;
    end.lastIndex = this.#at;
    this.#at += end.exec(this.#text)?.[0].length ?? 0;
  }

  /** The text of `$'…'`. */
  #escaped(): void {
    const text = this.#text;
    this.#builder.add('');
    const code = /x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)/y;
    for (; this.#at < text.length; this.#at += 1) {
      const char = text.charAt(this.#at);
      if (char === "'") {
        this.#at += 1;
        return;
      }
      if (char !== '\\') {
        this.#builder.add(char);
        continue;
      }
      this.#at += 1;
      code.lastIndex = this.#at;
      const found = code.exec(text);
      if (found === null) {
        this.#builder.add(ESCAPES[text.charAt(this.#at)] ?? text.charAt(this.#at));
        continue;
      }
      const [all, hex, short, long, octal] = found;
      const point =
        octal === undefined ? parseInt(hex ?? short ?? long ?? '0', 16) : parseInt(octal, 8);
      this.#builder.add(point > 0x10ffff ? '' : String.fromCodePoint(point));
      this.#at += all.length - 1;
    }
    this.#clean = false;
  }
}
