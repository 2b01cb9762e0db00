import { globOf, matchesGlob, readGlob, type Glob } from './glob.ts';
import { readWords, type Pieces } from './plain-command.ts';

/** The most characters of a rule. */
const MAX_RULE_LENGTH = 500;

const kinds = ['bash', 'builtin', 'cli', 'mcp', '*'] as const;
export type RuleKind = (typeof kinds)[number];

/** A rule that lets calls pass; it fits what it names exactly, letter case and all. */
export interface AllowRule {
  /** As it was written. */
  text: string;
  kind: RuleKind;
  /** The parts of a tool's name, which `:` divides. */
  name: readonly Glob[];
  /** Whether the last part stands for all further parts, too. */
  open: boolean;
  /** The words of a plain command; null: it fits no command. */
  words: readonly WordRule[] | null;
}

/** A rule that stops calls, or tells of them; it fits whatever can be taken for what it names. */
export interface WatchRule {
  text: string;
  kind: RuleKind;
  /** In lower case, over a tool's name and over the name with its arguments. */
  name: Glob;
  /** In lower case, over a command as it was written and over what was found in it. */
  command: readonly Glob[];
}

type WordRule =
  | { form: 'exact'; word: string }
  /** Patterns of what stands between slashes. */
  | { form: 'glob'; parts: readonly Glob[]; startsWithStar: boolean }
  | { form: 'any' }
  | { form: 'all' };

type Reading<T> = { rule: T } | { fault: string };

/** Reads a rule of the list `allow`. */
export function readAllowRule(text: string): Reading<AllowRule> {
  const parts = split(text);
  if ('fault' in parts) return parts;
  const { kind, rest } = parts;
  const read = kind === 'bash' || kind === '*' ? readWords(rest, true) : null;
  if (kind === 'bash' && read !== null && 'reason' in read) {
    const why = `${read.reason}; a rule that allows names one plain command, with what is special in quotes`;
    return { fault: why };
  }
  if (kind !== 'bash' && kind !== '*' && /\s/.test(rest)) {
    return { fault: 'the name of a tool has no spaces; remove them' };
  }
  return {
    rule: {
      text,
      kind,
      name: rest.split(':').map(readGlob),
      open: rest.endsWith('*'),
      words: read === null || 'reason' in read ? null : read.words.map(wordRule),
    },
  };
}

/** Reads a rule of the lists `deny` and `notify`. */
export function readWatchRule(text: string): Reading<WatchRule> {
  const parts = split(text);
  if ('fault' in parts) return parts;
  const { kind } = parts;
  const rest = parts.rest.toLowerCase();
  const read = readWords(rest, true);
  // A rule's quotes are the shell's, and what is found in a command has none.
  const unquoted = 'reason' in read ? [] : joined(read.words);
  const patterns = unquoted.join('*') === rest || unquoted.length === 0 ? [] : [unquoted];
  const command = [rest.split('*'), ...patterns].flatMap((pieces) => {
    // It stands for the command with any arguments, and without.
    const bare = pieces.length > 1 && pieces.at(-1) === '' ? withoutLastStar(pieces) : pieces;
    return bare === null ? [globOf(pieces)] : [globOf(bare), globOf(withArguments(bare))];
  });
  return { rule: { text, kind, name: readGlob(rest), command } };
}

function split(text: string): { kind: RuleKind; rest: string } | { fault: string } {
  if (text.length > MAX_RULE_LENGTH) {
    return { fault: `a rule has at most ${MAX_RULE_LENGTH} characters; shorten it with *` };
  }
  const colon = text.indexOf(':');
  const kind = kinds.find((each) => each === text.slice(0, colon));
  if (colon === -1 || kind === undefined) {
    return { fault: 'a rule begins with bash:, builtin:, cli:, mcp: or *:' };
  }
  const rest = text.slice(colon + 1);
  if (rest === '') return { fault: `"${text}" names nothing; write "${text}*" for all of it` };
  if (rest.trim() !== rest) return { fault: 'there is a space too many; remove it' };
  return { kind, rest };
}

/** Words as one text with single spaces, cut at its stars. */
function joined(words: readonly Pieces[]): string[] {
  const pieces = [''];
  words.forEach((word, index) => {
    word.forEach((piece, place) => {
      if (place > 0) pieces.push(piece);
      else pieces.push((pieces.pop() ?? '') + (index > 0 ? ' ' : '') + piece);
    });
  });
  return pieces;
}

/** `rm` for `rm *`; null where the star is a part of a word. */
function withoutLastStar(pieces: readonly string[]): string[] | null {
  const before = pieces.slice(0, -1);
  const last = before.at(-1) ?? '';
  if (!last.endsWith(' ')) return null;
  return [...before.slice(0, -1), last.slice(0, -1)];
}

function withArguments(pieces: readonly string[]): string[] {
  return [...pieces.slice(0, -1), `${pieces.at(-1) ?? ''} `, ''];
}

function wordRule(pieces: Pieces, index: number, words: readonly Pieces[]): WordRule {
  if (pieces.length === 1) return { form: 'exact', word: pieces[0] ?? '' };
  if (pieces.every((piece) => piece === '')) {
    return { form: index === words.length - 1 ? 'all' : 'any' };
  }
  const parts: string[][] = [['']];
  pieces.forEach((piece, place) => {
    piece.split('/').forEach((text, slash) => {
      if (slash > 0) parts.push([text]);
      else if (place > 0) parts.at(-1)?.push(text);
      else parts.splice(0, 1, [text]);
    });
  });
  return { form: 'glob', parts: parts.map(globOf), startsWithStar: pieces[0] === '' };
}

/** Whether a rule names exactly this tool. */
export function allowsTool(
  rule: AllowRule,
  kind: Exclude<RuleKind, 'bash' | '*'>,
  parts: readonly string[],
): boolean {
  if (rule.kind !== '*' && rule.kind !== kind) return false;
  const { name, open } = rule;
  if (parts.length < name.length || (parts.length > name.length && !open)) return false;
  return name.every((glob, index) => {
    const isLast = index === name.length - 1;
    return matchesGlob(glob, isLast ? parts.slice(index).join(':') : (parts[index] ?? ''));
  });
}

/**
 * Whether a rule fits this argument list word by word. A star within a word stands for any
 * characters but `/`, never for a whole `.` or `..` and not for the dash of an option; a `*` that is
 * a word of its own is one argument that is no option, and as the last word any further arguments.
 */
export function allowsCommand({ words }: AllowRule, argv: readonly string[]): boolean {
  if (words === null) return false;
  for (const [index, rule] of words.entries()) {
    if (rule.form === 'all') return index > 0 || argv.length > 0;
    const word = argv[index];
    if (word === undefined || !allowsWord(rule, word)) return false;
  }
  return words.length === argv.length;
}

function allowsWord(rule: Exclude<WordRule, { form: 'all' }>, word: string): boolean {
  switch (rule.form) {
    case 'exact':
      return word === rule.word;
    case 'any':
      return word !== '' && !word.startsWith('-');
    case 'glob': {
      if (rule.startsWithStar && word.startsWith('-')) return false;
      const parts = word.split('/');
      if (parts.length !== rule.parts.length) return false;
      return rule.parts.every((glob, index) => {
        const part = parts[index] ?? '';
        if (glob.tail !== null && (part === '' || part === '.' || part === '..')) return false;
        return matchesGlob(glob, part);
      });
    }
  }
}
