import { DuragentError, readEvent, type Delta, type StoredEvent } from '@duragent/protocol';
import { errorOfProblem } from './http.ts';
import type { SseFrame } from './sse-parser.ts';

/** What a session's stream carries, as read. */
export type SessionFrame = { kind: 'event'; event: StoredEvent } | { kind: 'delta'; delta: Delta };

/**
 * Reads one frame of a session's stream; null for a kind of delta this version does not know.
 * @throws DuragentError the problem that the server ended the stream with; failed, when data is not
 * what its name promises.
 */
export function readFrame(frame: SseFrame): SessionFrame | null {
  let data: unknown;
  try {
    data = JSON.parse(frame.data);
  } catch (cause) {
    throw new DuragentError('failed', `The server sent a ${frame.event} that is not JSON.`, {
      cause,
    });
  }
  if (frame.id !== null) {
    const read = readEvent(data);
    if (read.ok) return { kind: 'event', event: read.event };
    throw new DuragentError(
      'failed',
      `The server sent an event that cannot be read (${read.fault}).`,
    );
  }
  if (frame.event === 'error') {
    throw errorOfProblem(data) ?? new DuragentError('failed', 'The server broke the stream off.');
  }
  const delta = readDelta(frame.event, data);
  return delta === null ? null : { kind: 'delta', delta };
}

function readDelta(type: string, data: unknown): Delta | null {
  if (typeof data !== 'object' || data === null) return null;
  const fields = data as Record<string, unknown>;
  const { turn, step, attempt, call, offset, text, percent, clients, seq } = fields;
  switch (type) {
    case 'token':
    case 'reasoning':
      return isText(turn) && isCount(step) && isCount(attempt) && isCount(offset) && isText(text)
        ? { type, turn, step, attempt, offset, text }
        : null;
    case 'tool_output':
      return isText(turn) && isText(call) && isCount(offset) && isText(text)
        ? { type, turn, call, offset, text }
        : null;
    case 'progress':
      return isText(turn) && isText(call) && isText(text)
        ? { type, turn, call, text, ...(isCount(percent) ? { percent } : {}) }
        : null;
    case 'presence':
      return isCount(clients) ? { type, clients } : null;
    case 'lagged':
      return { type };
    case 'caught_up':
    case 'reset':
      return isCount(seq) ? { type, seq } : null;
    default:
      return null;
  }
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
