import type { SandboxPlace } from '../../ports/sandbox.ts';
import { GATE } from './gate.ts';

/** What is to be started, and how. */
export interface LaunchRequest extends SandboxPlace {
  argv: readonly string[];
  /** Whether it dies with who spawned it; it then begins when its gate is opened (`openGate`). */
  diesWithParent: boolean;
  /** Whether it stays in the terminal that it is started in. */
  terminal: boolean;
  /** Whether stdout and stderr become one, in the order of writing; stderr then only says why it did not start. */
  mergeOutput: boolean;
}

/** A process to spawn, with its whole environment. */
export interface Launch {
  file: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
}

/** One way to start commands. */
export interface Launcher {
  /**
   * Whether what runs below the spawned process ends with its first child (a process namespace);
   * else it is a process group.
   */
  readonly ownsNamespace: boolean;
  /** @returns what to spawn, or why it cannot be, in words for people. */
  prepare(request: LaunchRequest): Promise<Launch | { fault: string }>;
  /** Takes away what it has left on the machine; called when its commands have ended. */
  close?(): Promise<void>;
}

const CHECK = `command -v -- "$1" >/dev/null 2>&1 || { printf 'there is no program "%s" in this sandbox' "$1" >&2; exit 127; }`;

/**
 * What the shell does that starts a program. It joins the outputs, so what was on stderr before can
 * only come from those who start the program, never from itself. `exec`: the shell's own commands,
 * such as its `echo`, are not meant.
 */
export function groupScript(request: LaunchRequest): string {
  return [...beginning(request), 'exec "$@"'].join('; ');
}

/**
 * The same where the shell stays, as process 1 of a namespace: programs do not expect to be that
 * one, and with it all others end.
 */
export function initScript(request: LaunchRequest): string {
  return [...beginning(request), '(exec "$@")', 'exit $?'].join('; ');
}

function beginning({ diesWithParent, mergeOutput }: LaunchRequest): string[] {
  return [CHECK, ...(diesWithParent ? [GATE] : []), ...(mergeOutput ? ['exec 2>&1'] : [])];
}

/** Where the shell lies that starts programs. */
export const SHELL = '/bin/sh';

/** What is wrong with an argument list or a folder before anything is looked up; null: nothing. */
export function requestFault({ argv, cwd }: LaunchRequest): string | null {
  const program = argv[0];
  if (program === undefined || program === '') return 'no program is named';
  if (program.startsWith('-')) return `${JSON.stringify(program)} is no name of a program`;
  if ([...argv, cwd].some((text) => text.includes('\0'))) {
    return 'a null character can be no part of a command';
  }
  if (argv.some((text) => Buffer.byteLength(text) > MAX_ARGUMENT_BYTES)) {
    return `one argument is longer than ${MAX_ARGUMENT_BYTES} bytes: put it into a file`;
  }
  if (!cwd.startsWith('/')) return `the folder ${JSON.stringify(cwd)} is no absolute path`;
  return null;
}

/** Linux: MAX_ARG_STRLEN, 32 pages of 4 KiB, with its ending null. */
const MAX_ARGUMENT_BYTES = 131_071;
