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

/** What a word is that stands behind a sign such as `>`: a file, a text to read, or the end of one. */
export type Redirect = 'file' | 'text' | 'document' | 'indented document';

/** A here-document that is still to come. */
interface Awaited {
  /** The line that ends it. */
  end: string;
  indented: boolean;
  expands: boolean;
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
  redirect: Redirect | null;
  fed: string | null;
  piped: boolean;
  /** How many `${…}` are open. */
  expansions: number;
}

/**
 * Puts words and simple commands together of what the characters of a command line say, those in
 * substitutions apart from those around them.
 */
export class CommandBuilder {
  readonly #commands: SimpleCommand[] = [];
  readonly #values = new Map<string, string>();
  readonly #around: Frame[] = [];
  #frame: Frame = frameOf(null);
  #awaited: Awaited[] = [];
  #made = 0;

  /** What is open innermost. How its word is written is set there by who reads. */
  get frame(): Frame {
    return this.#frame;
  }

  /** Goes on with the word, or begins one. */
  add(text: string): void {
    if (this.#made > MAX_MADE) return;
    this.#made += text.length;
    this.#frame.word = (this.#frame.word ?? '') + text;
  }

  /** Adds a variable's value, as far as it is known; words are divided as the shell does it. */
  put(name: string): void {
    const value = name === 'IFS' ? ' ' : (this.#values.get(name) ?? '');
    if (this.#frame.inQuotes) {
      this.add(value);
      return;
    }
    value.split(/[ \t\n]+/).forEach((part, index) => {
      if (index > 0) this.endWord();
      if (part !== '') this.add(part);
    });
  }

  /** Ends the word, if there is one. */
  endWord(): void {
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
      this.endCommand(false);
    } else if (braced && /^\{[^{}]*,[^{}]*\}$/.test(word)) {
      frame.words.push(...word.slice(1, -1).split(','));
    } else {
      frame.words.push(word);
    }
  }

  /**
   * Ends the command, if there is one.
   * @param feedsNext whether the next command reads what this one writes.
   */
  endCommand(feedsNext: boolean): void {
    this.endWord();
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

  /** Begins a substitution or a group. */
  open(closer: ')' | '`'): void {
    this.#around.push(this.#frame);
    this.#frame = frameOf(closer);
  }

  /** Ends what is open innermost, and goes on with what is around it. */
  close(): void {
    this.endCommand(false);
    this.#frame = this.#around.pop() ?? frameOf(null);
  }

  /** Says what the next word is, behind a sign that a number right before it is a part of. */
  redirect(redirect: Redirect): void {
    if (this.#frame.word !== null && /^[0-9]+$/.test(this.#frame.word)) this.#frame.word = null;
    this.endWord();
    this.#frame.redirect = redirect;
  }

  /** The here-documents that begin with the next line, once. */
  takeAwaited(): Awaited[] {
    const awaited = this.#awaited;
    this.#awaited = [];
    return awaited;
  }

  /** Ends all that is open; `clean`: nothing was, nothing is awaited, and nothing was left out. */
  end(): { commands: SimpleCommand[]; clean: boolean } {
    const wasOpen = this.#around.length > 0 || this.#frame.inQuotes;
    this.endCommand(false);
    while (this.#around.length > 0) this.close();
    this.endCommand(false);
    const clean = !wasOpen && this.#awaited.length === 0 && this.#made <= MAX_MADE;
    return { commands: this.#commands, clean };
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
