import type { ReadStream, WriteStream } from 'node:tty';

/** What a command is given: the process's surroundings and the options that all commands have. */
export interface CliContext {
  env: NodeJS.ProcessEnv;
  cwd: string;
  stdin: ReadStream;
  stdout: WriteStream;
  stderr: WriteStream;
  globals: GlobalOptions;
}

export interface GlobalOptions {
  /** How often `-v` was given. */
  verbose: number;
  quiet: boolean;
  color: boolean;
  /** `--server`; without it, the server of this workspace. */
  server: string | null;
  token: string | null;
}

/** Whether a person sits at both ends. */
export function isInteractive(context: CliContext): boolean {
  return context.stdin.isTTY === true && context.stdout.isTTY === true;
}

/** Whether this output takes colours: a terminal, and neither `--no-color` nor `NO_COLOR`. */
export function hasColor(context: CliContext, out: WriteStream): boolean {
  const { NO_COLOR: noColor, TERM: term } = context.env;
  return out.isTTY === true && context.globals.color && (noColor ?? '') === '' && term !== 'dumb';
}
