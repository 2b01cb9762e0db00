import { DuragentError, type Handling, MAX_RECORD_BYTES, type UserPart } from '@duragent/protocol';
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
    return new DuragentError(
      'session_ended',
      `This session has ended (${state.ended.reason}); start a new one.`,
    );
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
