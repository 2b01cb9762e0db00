/** The longest command that is read as a plain one, in UTF-16 units. */
const MAX_LENGTH = 32_768;
const MAX_WORDS = 1000;

/** Control, format and private characters, empty letters, and every space but the plain one. */
const UNSEEN = /[\p{C}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800]|(?! )\p{Z}/u;

/** What has a meaning to the shell wherever it stands without quotes. */
const SPECIAL: Readonly<Record<string, string>> = {
  '*': 'a glob',
  '?': 'a glob',
  '[': 'a glob',
  ']': 'a glob',
  '{': 'a brace',
  '}': 'a brace',
  $: 'a substitution',
  '`': 'a substitution',
  ';': 'an operator',
  '&': 'an operator',
  '|': 'an operator',
  '<': 'a redirection',
  '>': 'a redirection',
  '(': 'a parenthesis',
  ')': 'a parenthesis',
  '!': 'a history expansion',
};

/** Words that the shell carries out itself, where there is no program of this name that does the same. */
const OF_THE_SHELL: ReadonlySet<string> = new Set(
  (
    '. : [[ ]] { } ! alias bg bind break builtin caller case cd command compgen complete compopt ' +
    'continue coproc declare dirs disown do done elif else enable esac eval exec exit export fc fg ' +
    'fi for function getopts hash help history if in jobs let local logout mapfile popd pushd read ' +
    'readarray readonly return select set shift shopt source suspend then time times trap type ' +
    'typeset ulimit umask unalias unset until wait while'
  ).split(' '),
);

/** A word as it was written: the texts around its stars. One piece: there is no star. */
export type Pieces = readonly string[];

/**
 * Reads a command that is nothing but one program and its arguments, as bash would hand them over:
 * it may be run without a shell. Quotes and backslashes are understood; whatever else the shell
 * would make something of (substitutions, operators, redirections, globs, braces, tildes,
 * assignments, comments, its own commands) and what cannot be seen makes it not plain, and
 * `reason` says what. Linear in the text's length.
 */
export function parsePlainCommand(
  text: string,
): { argv: [string, ...string[]] } | { reason: string } {
  const read = readWords(text, false);
  if ('reason' in read) return read;
  const [program, ...args] = read.words.map(([word]) => word ?? '');
  if (program === undefined) return { reason: 'it is empty' };
  return { argv: [program, ...args] };
}

/** Reads words as `parsePlainCommand` does; with `stars`, a `*` outside of quotes is a star. */
export function readWords(text: string, stars: boolean): { words: Pieces[] } | { reason: string } {
  if (text.length > MAX_LENGTH) return { reason: `it is longer than ${MAX_LENGTH} characters` };
  const unseen = UNSEEN.exec(text);
  if (unseen !== null) return at(unseen.index, 'a control or invisible character');

  const words: Pieces[] = [];
  /** The word that is being read; empty between words. */
  let word: string[] = [];
  const add = (piece: string): void => {
    word.push((word.pop() ?? '') + piece);
  };
  for (let index = 0; index < text.length; index += 1) {
    const char = text.charAt(index);
    if (char === ' ') {
      if (word.length > 0) words.push(word);
      word = [];
      if (words.length > MAX_WORDS) return { reason: `it has more than ${MAX_WORDS} words` };
    } else if (char === "'") {
      const end = text.indexOf("'", index + 1);
      if (end === -1) return at(index, 'a quote that does not end');
      add(text.slice(index + 1, end));
      index = end;
    } else if (char === '"') {
      const quoted = readDoubleQuotes(text, index);
      if ('reason' in quoted) return quoted;
      add(quoted.value);
      index = quoted.end;
    } else if (char === '\\') {
      index += 1;
      if (index === text.length) return at(index - 1, 'a backslash at the end');
      add(text.charAt(index));
    } else if (char === '*' && stars) {
      add('');
      word.push('');
    } else {
      const special = SPECIAL[char] ?? meaningHere(text, index, word.length === 0);
      if (special !== null) return at(index, special);
      add(char);
    }
  }
  if (word.length > 0) words.push(word);
  const reason = programFault(words[0]);
  return reason === null ? { words } : { reason };
}

function readDoubleQuotes(
  text: string,
  start: number,
): { value: string; end: number } | { reason: string } {
  let value = '';
  for (let index = start + 1; index < text.length; index += 1) {
    const char = text.charAt(index);
    if (char === '"') return { value, end: index };
    if (char === '$' || char === '`' || char === '!') return at(index, SPECIAL[char] ?? '');
    if (char === '\\' && '$`"\\'.includes(text.charAt(index + 1)) && index + 1 < text.length) {
      index += 1;
      value += text.charAt(index);
    } else {
      value += char;
    }
  }
  return at(start, 'a quote that does not end');
}

/** What a character means at this place only; null: itself. */
function meaningHere(text: string, index: number, startsWord: boolean): string | null {
  switch (text.charAt(index)) {
    case '#':
      return startsWord ? 'a comment' : null;
    case '^':
      return startsWord ? 'a history expansion' : null;
    case '~':
      // `HEAD~1` is a name; behind `=` and `:` the shell may put in a home directory.
      return startsWord || !/[A-Za-z0-9_.^~-]/.test(text.charAt(index - 1)) ? 'a tilde' : null;
    default:
      return null;
  }
}

/** Why the first word is not the name of a program; what holds a star is taken as one. */
function programFault(word: Pieces | undefined): string | null {
  if (word === undefined) return 'it is empty';
  const [name = ''] = word;
  if (word.some((piece) => piece.includes('='))) return 'it begins with an assignment';
  if (name.startsWith('-') || name.startsWith('%')) return `"${name}" is no program`;
  if (word.length > 1) return null;
  if (name === '') return 'its program has no name';
  return OF_THE_SHELL.has(name) ? `"${name}" is carried out by the shell itself` : null;
}

function at(index: number, what: string): { reason: string } {
  return { reason: `there is ${what} at character ${index + 1}` };
}

/**
 * Writes an argument list as a plain command.
 * @returns null if it cannot be written so that `parsePlainCommand` reads the same.
 */
export function writePlainCommand(argv: readonly string[]): string | null {
  const text = argv.map(quote).join(' ');
  const read = parsePlainCommand(text);
  if ('reason' in read || read.argv.length !== argv.length) return null;
  return read.argv.every((word, index) => word === argv[index]) ? text : null;
}

function quote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
