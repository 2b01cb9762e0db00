import type { GatewayErrorCode } from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { GrammyError, HttpError } from 'grammy';

/** Why a call came to nothing, or may have. */
export interface Failure {
  code: GatewayErrorCode;
  message: string;
  /** The call may have been done: its answer was lost. */
  isUncertain: boolean;
  /** Telegram read the call and did nothing; another form of the text may be taken. */
  mayBeForm: boolean;
  isUnmodified: boolean;
  isMethodMissing: boolean;
  retryAfterMs?: number;
  migratedTo?: number;
}

/** What an error of a call means. */
export function readFailure(error: unknown, method: string): Failure {
  if (error instanceof GrammyError) return readRefusal(error, method);
  const cause = error instanceof HttpError ? error.error : error;
  const name = networkCode(cause);
  if (name !== null && neverSent.has(name)) {
    const message = `Telegram cannot be reached (${name}): check the network and api_root`;
    return { ...unsent(message), code: 'not_connected' };
  }
  const why = name ?? (cause instanceof Error ? cause.message : 'no answer');
  return {
    ...unsent(`the answer to ${method} was lost (${why})`),
    isUncertain: true,
  };
}

function readRefusal(error: GrammyError, method: string): Failure {
  const { error_code: status, description, parameters } = error;
  const message = `Telegram refused ${method}: ${description}`;
  const failure = { ...unsent(message), code: codeOf(status, description) };
  if (status >= 500) return { ...failure, isUncertain: true };
  if (status === 429) return { ...failure, retryAfterMs: 1000 * (parameters.retry_after ?? 1) };
  if (status === 404 || (status === 400 && /method not found/i.test(description))) {
    return { ...failure, isMethodMissing: true, mayBeForm: true };
  }
  if (parameters.migrate_to_chat_id !== undefined) {
    return { ...failure, migratedTo: parameters.migrate_to_chat_id };
  }
  const isUnmodified = /message is not modified/i.test(description);
  const mayBeForm =
    status === 400 &&
    !isUnmodified &&
    (failure.code === 'invalid_request' || failure.code === 'too_long') &&
    !/query is too old|query id is invalid/i.test(description);
  return { ...failure, isUnmodified, mayBeForm };
}

function codeOf(status: number, description: string): GatewayErrorCode {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'blocked';
  if (status === 409) return 'conflict';
  if (status === 429) return 'rate_limited';
  if (status >= 500) return 'platform_error';
  const known = refusals.find(([pattern]) => pattern.test(description));
  return known?.[1] ?? 'invalid_request';
}

/** What Telegram says with status 400, in its words. */
const refusals: readonly (readonly [RegExp, GatewayErrorCode])[] = [
  [/chat not found|peer_id_invalid|chat_id is empty|upgraded to a supergroup/i, 'chat_not_found'],
  [/message thread not found|topic_(closed|deleted)|topic_id_invalid/i, 'chat_not_found'],
  [/message to (edit|delete) not found|message_id_invalid/i, 'message_not_found'],
  [/message can't be (edited|deleted)/i, 'message_not_found'],
  [/too long|message_too_long/i, 'too_long'],
  [/not enough rights|have no rights|need administrator rights/i, 'blocked'],
  [/chat_(write_forbidden|restricted|send_\w+_forbidden)|user_is_blocked|kicked/i, 'blocked'],
];

/** Errors of a connection over which no request went. */
const neverSent: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** The system's name of an error, wherever in its causes it stands. */
function networkCode(error: unknown): string | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; depth++) {
    if ('code' in cause && typeof cause.code === 'string') return cause.code;
    // A host with several addresses fails with one error for each.
    cause = cause instanceof AggregateError ? cause.errors[0] : cause.cause;
  }
  return null;
}

/** A failure of a call that was not made, or did nothing. */
export function unsent(message: string): Failure {
  return {
    code: 'platform_error',
    message,
    isUncertain: false,
    mayBeForm: false,
    isUnmodified: false,
    isMethodMissing: false,
  };
}

/** What the server is answered for a call that failed. */
export function answerOf(failure: Failure): AnswerBody {
  const { code, message, isUncertain, retryAfterMs } = failure;
  return {
    type: 'command_error',
    code,
    message,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    uncertain: isUncertain,
  };
}

/** What the server is answered for a request that is not tried. */
export function refusal(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}
