/** The most text that is made of a command by putting values in, in UTF-16 units. */
const MAX_MADE = 1_048_576;
const MAX_VALUE = 1000;

/** A simple command of a command line. */
export interface SimpleCommand {
  words: string[];
  /** What it is given by `<<<`. */
  fed: string | null;
  /** Whether it reads what the one before it writes. */
  piped: boolean;
}

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

/** What is open around a place in a command line, innermost last. */
interface Frame {
  closer: ')' | '`' | null;
  words: string[];
  /** null between words. */
  word: string | null;
  /** Whether the word holds a brace without quotes. */
  braced: boolean;
  /** Whether a part of the word is quoted. */
  quoted: boolean;
  inQuotes: boolean;
  /** The next word is a file, or a text to read; no argument. */
  redirect: 'file' | 'text' | 'document' | 'indented document' | null;
  fed: string | null;
  piped: boolean;
  /** How many `${…}` are open. */
  expansions: number;
}

/** The signs behind which the next word is no file. */
const GIVES: ReadonlyMap<string, Frame['redirect']> = new Map([
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
  readonly #commands: SimpleCommand[] = [];
  readonly #documents: HereDocument[] = [];
  /** Those that begin with the next line. */
  #awaited: { end: string; indented: boolean; expands: boolean }[] = [];
  readonly #values = new Map<string, string>();
  #frames: Frame[] = [];
  #frame: Frame = frameOf(null);
  #at = 0;
  #made = 0;
  #clean = true;

  constructor(text: string) {
    this.#text = text;
  }

  read(): ShellReading {
    while (this.#at < this.#text.length) {
      if (this.#frame.inQuotes) this.#inQuotes();
      else this.#bare();
    }
    if (this.#frames.length > 0 || this.#frame.inQuotes) this.#clean = false;
    this.#endCommand(false);
    while (this.#frames.length > 0) this.#close();
    this.#endCommand(false);
    const clean = this.#clean && this.#awaited.length === 0 && this.#made <= MAX_MADE;
    return { commands: this.#commands, documents: this.#documents, clean };
  }

  #inQuotes(): void {
    const char = this.#text.charAt(this.#at);
    const next = this.#text.charAt(this.#at + 1);
    if (char === '"') {
      this.#frame.inQuotes = false;
      this.#at += 1;
    } else if (char === '\\') {
      this.#at += 2;
      if (next !== '\n') this.#add('$`"\\'.includes(next) ? next : char + next);
    } else if (!this.#expansion(char)) {
      this.#add(char);
      this.#at += 1;
    }
  }

  #bare(): void {
    const frame = this.#frame;
    const text = this.#text;
    const char = text.charAt(this.#at);
    switch (char) {
      case ' ':
      case '\t':
        this.#endWord();
        break;
      case '\n':
        this.#endCommand(false);
        this.#readDocuments();
        break;
      case ';':
      case '&':
        this.#endCommand(false);
        break;
      case '|':
        // `||` ends a command, too, and what is behind it reads nothing.
        this.#endCommand(text[this.#at + 1] !== '|' && text[this.#at - 1] !== '|');
        break;
      case '(':
        frame.redirect = null;
        if (frame.word === null) this.#endCommand(frame.piped);
        this.#open(')');
        break;
      case ')':
        if (frame.closer === ')') this.#close();
        else this.#endCommand(false);
        break;
      case '<':
      case '>':
        this.#redirection();
        return;
      case "'": {
        const end = text.indexOf("'", this.#at + 1);
        frame.quoted = true;
        if (end === -1) this.#clean = false;
        this.#add(text.slice(this.#at + 1, end === -1 ? undefined : end));
        this.#at = end === -1 ? text.length : end;
        break;
      }
      case '"':
        this.#add('');
        frame.quoted = true;
        frame.inQuotes = true;
        break;
      case '\\':
        this.#at += 1;
        frame.quoted = true;
        if (text[this.#at] !== '\n') this.#add(text.charAt(this.#at));
        break;
      case '#':
        if (frame.word === null) this.#comment();
        else this.#add(char);
        break;
      default:
        if (this.#expansion(char)) return;
        if (char === '{') frame.braced = true;
        this.#add(char);
    }
    this.#at += 1;
  }

  /** Goes to the end of the line, or to where the substitution in backticks ends. */
  #comment(): void {
    const end = this.#frame.closer === '`' ? /[\n`]|$/g : /\n|$/g;
    end.lastIndex = this.#at;
    this.#at = (end.exec(this.#text)?.index ?? this.#text.length) - 1;
  }

  /** `<`, `>`, `>>`, `<<<`, `2>&1` …; what stands before it as a number is a part of it. */
  #redirection(): void {
    const sign = /[<>]+[&|]?-?/y;
    sign.lastIndex = this.#at;
    const found = sign.exec(this.#text)?.[0] ?? '<';
    if (this.#frame.word !== null && /^[0-9]+$/.test(this.#frame.word)) this.#frame.word = null;
    this.#endWord();
    this.#frame.redirect = GIVES.get(found) ?? 'file';
    this.#at += found.length;
  }

  /** Goes over the here-documents behind the end of a line, to the end of the last one's last line. */
  #readDocuments(): void {
    const awaited = this.#awaited;
    this.#awaited = [];
    for (const { end, indented, expands } of awaited) {
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
    const frame = this.#frame;
    if (char === '`') {
      const inside = this.#frames.length > 0 && this.#frame.closer === '`';
      if (inside) this.#close();
      else this.#open('`');
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
      this.#open(')');
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
    this.#put(inBraces ?? plain ?? '');
    if (inBraces !== undefined) this.#restOfBraces();
    return true;
  }

  /** Behind `${name`: what is to be done with the value is left out, a value in its place is kept. */
  #restOfBraces(): void {
    const rest = /:?[-=+?]/y;
    rest.lastIndex = this.#at;
    const instead = rest.exec(this.#text);
    if (instead !== null) this.#at += instead[0].length;
    this.#frame.expansions += 1;
    if (instead !== null || this.#text[this.#at] === '}') return;
    // `${x#…}`, `${x:0:1}` …: the text there is no part of the word, unless it opens something.
    const end = /[^}$`"'\\()\n]*/y;
    end.lastIndex = this.#at;
    this.#at += end.exec(this.#text)?.[0].length ?? 0;
  }

  /** Puts a variable's value in, as far as it is known; words are divided as the shell does it. */
  #put(name: string): void {
    const value = name === 'IFS' ? ' ' : (this.#values.get(name) ?? '');
    if (this.#frame.inQuotes) {
      this.#add(value);
      return;
    }
    value.split(/[ \t\n]+/).forEach((part, index) => {
      if (index > 0) this.#endWord();
      if (part !== '') this.#add(part);
    });
  }

  /** The text of `$'…'`. */
  #escaped(): void {
    const text = this.#text;
    this.#add('');
    const code = /x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)/y;
    for (; this.#at < text.length; this.#at += 1) {
      const char = text.charAt(this.#at);
      if (char === "'") {
        this.#at += 1;
        return;
      }
      if (char !== '\\') {
        this.#add(char);
        continue;
      }
      this.#at += 1;
      code.lastIndex = this.#at;
      const found = code.exec(text);
      if (found === null) {
        this.#add(ESCAPES[text.charAt(this.#at)] ?? text.charAt(this.#at));
        continue;
      }
      const [all, hex, short, long, octal] = found;
      const point =
        octal === undefined ? parseInt(hex ?? short ?? long ?? '0', 16) : parseInt(octal, 8);
      this.#add(point > 0x10ffff ? '' : String.fromCodePoint(point));
      this.#at += all.length - 1;
    }
    this.#clean = false;
  }

  #add(text: string): void {
    if (this.#made > MAX_MADE) return;
    this.#made += text.length;
    this.#frame.word = (this.#frame.word ?? '') + text;
  }

  #endWord(): void {
    const frame = this.#frame;
    const { word, braced, quoted } = frame;
    frame.word = null;
    frame.braced = false;
    frame.quoted = false;
    if (word === null) return;
    if (frame.redirect !== null) {
      if (frame.redirect === 'text') frame.fed = word;
      else if (frame.redirect !== 'file') {
        const indented = frame.redirect === 'indented document';
        this.#awaited.push({ end: word, indented, expands: !quoted });
      }
      frame.redirect = null;
    } else if (braced && word === '{') {
      // The body of a function begins behind its name.
      this.#endCommand(false);
    } else if (braced && /^\{[^{}]*,[^{}]*\}$/.test(word)) {
      frame.words.push(...word.slice(1, -1).split(','));
    } else {
      frame.words.push(word);
    }
  }

  #endCommand(feedsNext: boolean): void {
    this.#endWord();
    const frame = this.#frame;
    frame.redirect = null;
    const { words, fed, piped } = frame;
    frame.words = [];
    frame.fed = null;
    frame.piped = feedsNext;
    if (words.length === 0) return;
    this.#remember(words);
    this.#commands.push({ words, fed, piped });
  }

  /** Keeps what variables are set to. */
  #remember(words: readonly string[]): void {
    for (const word of words) {
      const found = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(word);
      if (found === null) {
        if (/^(?:export|declare|typeset|local|readonly|-[A-Za-z]+)$/.test(word)) continue;
        return;
      }
      const value = word.slice(found[0].length);
      if (value.length <= MAX_VALUE) this.#values.set(found[1] ?? '', value);
    }
  }

  #open(closer: ')' | '`'): void {
    this.#frames.push(this.#frame);
    this.#frame = frameOf(closer);
  }

  #close(): void {
    this.#endCommand(false);
    this.#frame = this.#frames.pop() ?? frameOf(null);
  }
}

function frameOf(closer: Frame['closer']): Frame {
  return {
    closer,
    words: [],
    word: null,
    braced: false,
    quoted: false,
    inQuotes: false,
    redirect: null,
    fed: null,
    piped: false,
    expansions: 0,
  };
}
