import { DuragentError, type ErrorCode, type Problem } from '@duragent/protocol';

/** What a status line needs to know of an error, and the body that explains it. */
export interface ProblemAnswer {
  status: number;
  headers: Record<string, string>;
  body: Problem;
  /** The cause is ours and is told to nobody but the log. */
  isInternal: boolean;
}

/**
 * The one table of codes: HTTP status and title. `null`: an error of the inside, answered as 500
 * `internal` without its words.
 */
const table: Record<ErrorCode, readonly [status: number, title: string] | null> = {
  invalid_request: [400, 'Invalid request'],
  unauthorized: [401, 'Not authenticated'],
  forbidden: [403, 'Not allowed'],
  cli_disabled: [403, 'The command line is disabled'],
  not_found: [404, 'Not found'],
  session_not_found: [404, 'No such session'],
  agent_not_found: [404, 'No such agent'],
  method_not_allowed: [405, 'Method not allowed'],
  request_timeout: [408, 'Request timeout'],
  conflict: [409, 'Conflict'],
  draining: [409, 'The server is stopping'],
  // A damaged or newer log is a state of that one session, which a repeat does not change.
  session_quarantined: [409, 'The log of the session is damaged'],
  log_corrupt: [409, 'The log of the session is damaged'],
  log_newer: [409, 'The log of the session is of a newer version'],
  session_ended: [410, 'The session has ended'],
  payload_too_large: [413, 'Too large'],
  record_too_large: [413, 'Too large'],
  unsupported_media_type: [415, 'Unsupported media type'],
  misdirected_request: [421, 'Misdirected request'],
  // Of a file that the server reads while it runs: duragent.yaml at a reload, access.yaml.
  config_invalid: [409, 'The configuration is not usable'],
  agent_invalid: [422, 'The agent does not load'],
  too_many_requests: [429, 'Too many requests'],
  queue_full: [429, 'The queue is full'],
  internal: null,
  storage_full: [503, 'The disk is full'],
  storage_failed: [503, 'The storage failed'],
  locked: [503, 'The workspace is locked'],
  epoch_lost: [503, 'Another server took over'],
  port_in_use: null,
  seq_conflict: null,
  no_server: null,
  wrong_workspace: null,
  usage: null,
  failed: null,
};

/** Seconds after which a repeat may succeed, where the error itself does not say (`retry_after`). */
const retryAfter: Partial<Record<ErrorCode, number>> = {
  draining: 5,
  queue_full: 5,
  storage_full: 5,
  storage_failed: 5,
  epoch_lost: 5,
  locked: 5,
};

/** The answer to an error: a `DuragentError` by the table, anything else as 500 `internal`. */
export function problemOf(error: unknown, requestId: string): ProblemAnswer {
  const row = error instanceof DuragentError ? table[error.code] : null;
  if (!(error instanceof DuragentError) || !row) {
    return {
      status: 500,
      headers: {},
      body: problem(
        'internal',
        500,
        'Internal error',
        `Something went wrong in the server. Its log has the cause under the request id ${requestId}.`,
        requestId,
      ),
      isInternal: true,
    };
  }
  const { code, message, details } = error;
  const [status, title] = row;
  const standard = problem(code, status, title, message, requestId);
  return {
    status,
    headers: headersOf(error),
    // Twice, so that no detail can replace a standard member and those still come first.
    body: { ...standard, ...details, ...standard },
    isInternal: false,
  };
}

function problem(
  code: ErrorCode,
  status: number,
  title: string,
  detail: string,
  requestId: string,
): Problem {
  return {
    type: `urn:duragent:problem:${code}`,
    title,
    status,
    detail,
    code,
    request_id: requestId,
  };
}

function headersOf({ code, details }: DuragentError): Record<string, string> {
  const headers: Record<string, string> = {};
  if (code === 'unauthorized') headers['WWW-Authenticate'] = 'Bearer';
  if (code === 'method_not_allowed' && Array.isArray(details['allow'])) {
    headers['Allow'] = details['allow'].join(', ');
  }
  const seconds = details['retry_after'] ?? retryAfter[code];
  if (typeof seconds === 'number') headers['Retry-After'] = String(seconds);
  return headers;
}
