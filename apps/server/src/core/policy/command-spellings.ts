import type { SimpleCommand } from './command-builder.ts';
import { parsePlainCommand } from './plain-command.ts';
import { readShell } from './shell-reader.ts';

/** The most that is looked at of one command: texts, and their UTF-16 units. */
const MAX_SPELLINGS = 10_000;
const MAX_CHARACTERS = 1_048_576;
/** How deep programs that run programs are followed, and texts that hold commands. */
const MAX_PROGRAMS = 8;
const MAX_TEXTS = 4;
/** How many words behind a program's options are taken for the program that it runs. */
const MAX_STARTS = 4;

/** Words that stand before a command and are no part of it. */
const LEADING: ReadonlySet<string> = new Set(
  '! { } if then elif else while until do time coproc function'.split(' '),
);

/** Programs that run the program in their arguments, and how many arguments stand before it. */
const RUNNERS: ReadonlyMap<string, number> = new Map([
  ...(
    'env sudo doas command builtin exec nohup setsid time nice ionice stdbuf unbuffer xargs strace ' +
    'ltrace busybox toybox unshare nsenter systemd-run proxychains proxychains4 torsocks fakeroot ' +
    'setpriv prlimit runuser pkexec rlwrap catchsegv dbus-run-session caffeinate npx parallel ' +
    'firejail bwrap watch entr ssh-agent eatmydata linux32 linux64 setarch'
  )
    .split(' ')
    .map((name): [string, number] => [name, 0]),
  ...'timeout chroot flock taskset chrt ssh faketime'
    .split(' ')
    .map((name): [string, number] => [name, 1]),
]);

const SHELLS = 'sh bash dash zsh ksh mksh ash fish rbash yash csh tcsh';
/** Programs that take a command as a text behind `-c`. */
const WITH_C: ReadonlySet<string> = new Set(`${SHELLS} su script runuser flock`.split(' '));
/** Programs that carry out the commands that they read. */
const READS_COMMANDS: ReadonlySet<string> = new Set(`${SHELLS} ssh su at batch`.split(' '));
/** Programs whose arguments together are such a text. */
const WITH_TEXT: ReadonlySet<string> = new Set('eval ssh watch parallel trap env entr'.split(' '));

export interface Spellings {
  /** Each command that was found, with single spaces and without quotes, and what else it may be called. */
  commands: ReadonlySet<string>;
  /** Whether there was more to look at than is looked at. */
  isTangled: boolean;
}

/**
 * What a command line may run, for rules that stop it: every simple command in it, by its path and
 * by its bare name, and those that other programs are asked to run (`sudo`, `xargs`, `sh -c` …). A
 * help against mistakes; who wants to hide a command can.
 */
export function spellingsOf(text: string): Spellings {
  const finder = new Finder();
  const plain = parsePlainCommand(text);
  if ('argv' in plain) finder.command(plain.argv, 0, 0);
  else finder.text(text, 0);
  return { commands: finder.found, isTangled: finder.isTangled };
}

class Finder {
  readonly found = new Set<string>();
  isTangled = false;
  readonly #read = new Set<string>();
  #characters = 0;

  text(text: string, depth: number): void {
    if (depth > MAX_TEXTS || this.isTangled || this.#read.has(text)) return;
    this.#read.add(text);
    this.#count(text);
    if (this.isTangled) return;
    const { commands, documents, clean } = readShell(text);
    commands.forEach((command, index) => {
      this.command(command.words, depth, 0);
      this.#fed(command, commands[index - 1], depth);
    });
    const someRead = commands.some(({ words }) => readsCommands(words));
    for (const document of documents) {
      const substitutes = document.expands && /\$\(|`/.test(document.text);
      if (someRead || substitutes) this.text(document.text, depth + 1);
    }
    if (clean) return;
    // The shell may see other quotes than were seen here: then there are none.
    for (const line of text.split(/[\n;&|()`]+/)) {
      const words = line.replace(/['"\\]/g, '').split(/\s+/);
      this.command(
        words.filter((word) => word !== ''),
        depth,
        0,
      );
    }
  }

  /** A shell that is given its commands. */
  #fed(
    { words, fed, piped }: SimpleCommand,
    before: SimpleCommand | undefined,
    depth: number,
  ): void {
    if (!readsCommands(words)) return;
    if (fed !== null) this.text(fed, depth + 1);
    if (!piped || before === undefined) return;
    const [program = '', ...args] = before.words;
    if (/^(?:echo|printf)$/.test(baseName(program))) this.text(args.join(' '), depth + 1);
  }

  command(words: readonly string[], depth: number, programs: number): void {
    let start = 0;
    while (start < words.length && isLeading(words[start] ?? '')) start += 1;
    const [program, ...args] = words.slice(start);
    if (program === undefined || this.isTangled) return;
    const name = baseName(program);
    const isNew = this.#add([program, ...args].join(' '));
    if (name !== program) this.#add([name, ...args].join(' '));
    if (!isNew || programs >= MAX_PROGRAMS) return;

    for (const from of startsOf(name, args)) this.command(args.slice(from), depth, programs + 1);
    for (const text of textsOf(name.toLowerCase(), args)) this.text(text, depth + 1);
  }

  /** @returns whether it was not known yet. */
  #add(command: string): boolean {
    if (this.found.has(command)) return false;
    this.#count(command);
    if (!this.isTangled) this.found.add(command);
    return !this.isTangled;
  }

  #count({ length }: string): void {
    this.#characters += length;
    this.isTangled ||= this.found.size >= MAX_SPELLINGS || this.#characters > MAX_CHARACTERS;
  }
}

function readsCommands(words: readonly string[]): boolean {
  return words.some((word) => READS_COMMANDS.has(baseName(word)));
}

function isLeading(word: string): boolean {
  return LEADING.has(word) || /^[A-Za-z_][A-Za-z0-9_]*\+?=/.test(word);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Where in its arguments the programs may begin that a program runs. */
function startsOf(program: string, args: readonly string[]): number[] {
  const name = program.toLowerCase();
  if (name === 'find' || name === 'fd') {
    return args.flatMap((arg, index) =>
      /^(?:-exec|-execdir|-ok|-okdir|-x|-X|--exec|--exec-batch)$/.test(arg) ? [index + 1] : [],
    );
  }
  let others = RUNNERS.get(name);
  if (others === undefined) return [];
  // Any option may have an argument that looks like the program.
  let left = others + 1;
  const starts: number[] = [];
  for (const [index, arg] of args.entries()) {
    if (arg.startsWith('-')) {
      left += arg === '--' || arg.includes('=') ? 0 : 1;
    } else if (!isLeading(arg)) {
      if (others > 0) others -= 1;
      else starts.push(index);
      left -= 1;
    }
    if (left === 0 || starts.length === MAX_STARTS) break;
  }
  return starts;
}

/** What of its arguments a program takes for a command line. */
function textsOf(name: string, args: readonly string[]): string[] {
  const texts: string[] = [];
  if (WITH_C.has(name)) {
    args.forEach((arg, index) => {
      if (/^(?:-[A-Za-z]*c|--command)$/.test(arg)) texts.push(args[index + 1] ?? '');
      else if (arg.startsWith('--command=')) texts.push(arg.slice('--command='.length));
    });
  }
  if (WITH_TEXT.has(name)) {
    const [first = ''] = args;
    texts.push(args.join(' '), ...(name === 'trap' || name === 'watch' ? [first] : []));
    texts.push(...args.filter((arg) => /\s/.test(arg)));
    if (name === 'env') {
      texts.push(
        ...args.flatMap((arg) =>
          /^-S.|^--split-string=/.test(arg) ? [arg.replace(/^-S|^[^=]*=/, '')] : [],
        ),
      );
    }
  }
  return texts;
}
