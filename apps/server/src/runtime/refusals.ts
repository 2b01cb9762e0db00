import {
  DuragentError,
  type EndReason,
  type Handling,
  MAX_RECORD_BYTES,
  type SessionEvent,
  type UserPart,
} from '@duragent/protocol';
import type { SessionInput } from '../core/session/session-input.ts';
import { MAX_PENDING, type SessionState } from '../core/session/state.ts';
import { utf8Length } from '../core/utf8.ts';
import type { Quarantine } from '../ports/session-store.ts';

/** What a record takes besides a message's content. */
const ENVELOPE_BYTES = 4096;

/** Why a session does not take a message now; null: it does. */
export function refuseMessage(
  state: SessionState,
  message: { content: UserPart[]; handling: Handling },
): DuragentError | null {
  if (state.ended) {
    return sessionEnded(state.ended.reason);
  }
  if (message.handling === 'turn' && state.pending.length >= MAX_PENDING) {
    return new DuragentError(
      'queue_full',
      `${MAX_PENDING} messages wait for this session's agent already; send this again later.`,
    );
  }
  const bytes = utf8Length(JSON.stringify(message.content));
  if (bytes > MAX_RECORD_BYTES - ENVELOPE_BYTES) {
    return new DuragentError(
      'record_too_large',
      `The message takes ${bytes} bytes of the ${MAX_RECORD_BYTES - ENVELOPE_BYTES} that a record has for it; send less.`,
    );
  }
  return null;
}

export function sessionEnded(reason: EndReason): DuragentError {
  return new DuragentError('session_ended', `This session has ended (${reason}); start a new one.`);
}

export function quarantined(damage: Quarantine): DuragentError {
  return new DuragentError(
    'session_quarantined',
    `The log of this session is damaged at byte ${damage.offset} of ${damage.file} (${damage.reason}). It can be read up to there and takes nothing new: restore the file from a backup, or start a new session.`,
    { details: { ...damage } },
  );
}

export function stopping(): DuragentError {
  return new DuragentError('draining', 'The server is stopping; send this again in a moment.');
}

/** What the store adds to a record, and more. */
const SEAL_BYTES = 64;

/** Whether an event does not fit into a record. Only those that hold much text are measured. */
export function isTooLarge(event: SessionEvent): boolean {
  if (event.type !== 'assistant_message' && event.type !== 'user_message') return false;
  const parts = (event.deliveries ?? []).reduce((sum, { parts: all }) => sum + all.length, 0);
  const units = event.content.reduce(
    (sum, part) => sum + (part.type === 'file' ? part.name.length : part.text.length),
    0,
  );
  // A unit takes six bytes at most, and a part's place less than 200.
  if (6 * units + 200 * parts < MAX_RECORD_BYTES / 2) return false;
  return utf8Length(JSON.stringify(event)) > MAX_RECORD_BYTES - SEAL_BYTES;
}

export function recordTooLarge(): DuragentError {
  return new DuragentError(
    'record_too_large',
    `With what it is shown as in chats the message takes more than the ${MAX_RECORD_BYTES} bytes of a record; send less.`,
  );
}

/** What an answer that does not fit into a record, with its parts for chats, counts as. */
export function answerTooLarge(
  answer: Extract<SessionInput, { type: 'model_finished' }>,
): SessionInput {
  const { turn, step, attempt, model, usage } = answer;
  const message = `The answer is larger than a record may be (${MAX_RECORD_BYTES} bytes with its parts for chats); lower max_output_tokens or ask for less.`;
  return {
    type: 'model_failed',
    turn,
    step,
    attempt,
    model,
    error: { code: 'answer_too_large', message },
    retryable: false,
    ...(usage ? { usage } : {}),
  };
}
