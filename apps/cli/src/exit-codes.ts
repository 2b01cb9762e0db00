import type { ErrorCode } from '@duragent/protocol';

/** How the command ends: 0 done, 1 failure, 2 usage, then the codes of sysexits.h. */
export type ExitCode = 0 | 1 | 2 | 69 | 73 | 74 | 75 | 77 | 78;

/** The one table from what went wrong to how the command ends. */
export const exitCodes: Readonly<Record<ErrorCode, ExitCode>> = {
  usage: 2,
  invalid_request: 2,
  no_server: 69,
  wrong_workspace: 69,
  locked: 73,
  epoch_lost: 73,
  storage_full: 74,
  storage_failed: 74,
  log_corrupt: 74,
  session_quarantined: 74,
  draining: 75,
  queue_full: 75,
  request_timeout: 75,
  too_many_requests: 75,
  unauthorized: 77,
  forbidden: 77,
  cli_disabled: 77,
  misdirected_request: 77,
  config_invalid: 78,
  agent_invalid: 78,
  log_newer: 78,
  not_found: 1,
  session_not_found: 1,
  agent_not_found: 1,
  method_not_allowed: 1,
  conflict: 1,
  session_ended: 1,
  payload_too_large: 1,
  unsupported_media_type: 1,
  port_in_use: 1,
  seq_conflict: 1,
  record_too_large: 1,
  internal: 1,
  failed: 1,
};

const systemErrors: ReadonlyMap<unknown, ExitCode> = new Map([
  ['EACCES', 77],
  ['EPERM', 77],
  ['EIO', 74],
  ['ENOSPC', 74],
  ['EDQUOT', 74],
  ['EROFS', 74],
  ['EMFILE', 74],
  ['ENFILE', 74],
]);

/** Whether a word is a code of Duragent's errors. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(exitCodes, code);
}

/** How the command ends after this error; anything unknown is a failure. */
export function exitCodeOf(error: unknown): ExitCode {
  const code = (error as { code?: unknown } | null)?.code;
  if (isErrorCode(code)) return exitCodes[code];
  return systemErrors.get(code) ?? 1;
}
