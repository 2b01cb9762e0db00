/** Every code an error of Duragent can have; programs may rely on them. */
export type ErrorCode =
  // the request
  | 'invalid_request'
  | 'unauthorized'
  | 'forbidden'
  | 'cli_disabled'
  | 'not_found'
  | 'session_not_found'
  | 'agent_not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'draining'
  | 'session_ended'
  | 'request_timeout'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'misdirected_request'
  | 'too_many_requests'
  | 'queue_full'
  | 'internal'
  // the server and its files
  | 'config_invalid'
  | 'agent_invalid'
  | 'locked'
  | 'epoch_lost'
  | 'port_in_use'
  | 'seq_conflict'
  | 'record_too_large'
  | 'session_quarantined'
  | 'log_corrupt'
  | 'log_newer'
  | 'storage_full'
  | 'storage_failed'
  // clients
  | 'no_server'
  | 'wrong_workspace'
  | 'usage'
  | 'failed';

/** The one error of Duragent: a stable `code`, and a `message` that says what to do next. */
export class DuragentError extends Error {
  readonly code: ErrorCode;
  /** Facts for programs, such as the session that holds a key. Never a secret. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DuragentError';
    this.code = code;
    this.details = options.details ?? {};
  }
}
