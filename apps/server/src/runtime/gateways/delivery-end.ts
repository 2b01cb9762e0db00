import { type CommandError, isTransient } from '@duragent/protocol';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import type { RequestOutcome } from '../../ports/gateway.ts';

/** How a part ends whose gateway has no process. */
export const NOT_READY = failed('The gateway is not running.');

/**
 * How a part ends whose posting came out so. Its `retryAfterMs` is what the platform asked for, and
 * no longer than the `leftMs` that the part has.
 */
export function endOfPosting(outcome: RequestOutcome, leftMs: number): DeliveryEnd {
  switch (outcome.type) {
    case 'unsent':
      return failed(outcome.reason);
    case 'lost':
      return { outcome: 'uncertain', error: { code: 'lost', message: outcome.reason } };
    case 'answered':
      switch (outcome.answer.type) {
        case 'command_ok': {
          const { message_id } = outcome.answer;
          return {
            outcome: 'delivered',
            ...(message_id === undefined ? {} : { message: message_id }),
          };
        }
        case 'command_error':
          return endOfRefusal(outcome.answer, leftMs);
        default:
          return { outcome: 'uncertain', error: BAD_ANSWER };
      }
  }
}

/** As `endOfPosting`, of looking a part up. @returns null where it is certainly not there. */
export function endOfFinding(outcome: RequestOutcome, leftMs: number): DeliveryEnd | null {
  if (outcome.type !== 'answered') return failed(outcome.reason);
  switch (outcome.answer.type) {
    case 'message_found':
      return { outcome: 'delivered', message: outcome.answer.message_id };
    case 'message_not_found':
      return null;
    case 'command_error':
      return endOfRefusal(outcome.answer, leftMs);
    default:
      return { outcome: 'failed', error: BAD_ANSWER };
  }
}

/** Whether what should be finished is not there: nothing was posted. */
export function isGone(end: DeliveryEnd): boolean {
  return end.outcome === 'dead' && end.error.code === 'message_not_found';
}

function endOfRefusal(refusal: CommandError, leftMs: number): DeliveryEnd {
  const error = { code: refusal.code, message: refusal.message.slice(0, 1000).toWellFormed() };
  const asked = refusal.retry_after_ms;
  const retry = asked === undefined ? {} : { retryAfterMs: Math.min(asked, leftMs) };
  if (refusal.uncertain) return { outcome: 'uncertain', error, ...retry };
  if (!isTransient(refusal.code)) return { outcome: 'dead', error };
  return { outcome: 'failed', error, ...retry };
}

/** Nothing was sent. */
function failed(message: string): DeliveryEnd {
  return { outcome: 'failed', error: { code: 'not_connected', message } };
}

const BAD_ANSWER = {
  code: 'platform_error',
  message: 'The gateway gave an answer to something else.',
};
