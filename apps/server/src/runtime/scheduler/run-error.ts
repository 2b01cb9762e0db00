import { DuragentError } from '@duragent/protocol';
import type { RunError } from '../../core/schedule/run-log.ts';

const MAX_MESSAGE = 1000;

/** What a run log keeps, and people see, of something that was thrown. */
export function runErrorOf(thrown: unknown): RunError {
  const code = thrown instanceof DuragentError ? thrown.code : 'internal';
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code, message: message.slice(0, MAX_MESSAGE) };
}
