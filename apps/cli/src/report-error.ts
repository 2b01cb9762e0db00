import type { Writable } from 'node:stream';
import type { GlobalOptions } from './context.ts';
import { exitCodeOf, type ExitCode } from './exit-codes.ts';
import { sanitize } from './terminal/sanitize.ts';

/** Causes of causes are told to this depth. */
const MAX_CAUSES = 5;

/** Says what went wrong and what to do, without a stack; with `-vv` also why. @returns how to end */
export function reportError(
  error: unknown,
  out: Writable,
  globals: Pick<GlobalOptions, 'verbose' | 'token'> | null,
): ExitCode {
  const lines = [`duragent: ${messageOf(error)}`];
  let cause = causeOf(error);
  for (let depth = 0; depth < MAX_CAUSES && cause !== undefined; depth += 1) {
    if ((globals?.verbose ?? 0) >= 2) lines.push(`  because: ${messageOf(cause)}`);
    cause = causeOf(cause);
  }
  const text = sanitize(lines.join('\n'));
  const token = globals?.token ?? '';
  out.write(`${token === '' ? text : text.replaceAll(token, '[token]')}\n`);
  return exitCodeOf(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, path } = error as NodeJS.ErrnoException;
  const known = systemWords.get(code);
  return known === undefined || path === undefined ? error.message : `${known}: ${path}`;
}

const systemWords: ReadonlyMap<unknown, string> = new Map([
  ['EACCES', 'This user may not do that; check the permissions of'],
  ['EPERM', 'This user may not do that; check the owner of'],
  ['ENOENT', 'There is no such file or directory'],
  ['ENOSPC', 'The disk is full; make room at'],
  ['EROFS', 'The disk is read-only'],
]);
