import { crc32 } from 'node:zlib';
import type { SessionEvent } from '@duragent/protocol';
import type { SessionSummary } from '../core/session/summary.ts';
import type { StoredRecord } from './session-store.ts';

/** Ids of two sessions, for tests. */
export const SESSION = 'session_01ab2cd3ef4gh5jk6mn7pq8rst';
export const OTHER = 'session_01ab2cd3ef4gh5jk6mn7pq8rsv';

/** A `user_message` with some text, for tests. */
export function message(seq: number, text = `message ${seq}`, epoch = 1): SessionEvent {
  return {
    seq,
    epoch,
    at: '2026-11-21T12:00:00.000Z',
    type: 'user_message',
    message_id: `msg_${seq}`,
    source: { kind: 'cli' },
    content: [{ type: 'text', text }],
    handling: 'turn',
  };
}

/** The messages `from` to `to`. */
export function messages(from: number, to: number, text?: string): SessionEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) => message(from + index, text));
}

/** A summary as an idle close would give it, for tests. */
export function summaryOf(session: string, lastSeq: number): SessionSummary {
  return {
    session,
    agent: 'echo',
    labels: { team: 'a' },
    origin: { kind: 'cli' },
    created_at: '2026-11-21T12:00:00.000Z',
    updated_at: '2026-11-21T12:00:00.000Z',
    paused: false,
    waiting: null,
    asked: 0,
    has_work: false,
    turns: 0,
    usage: { input_tokens: 0, output_tokens: 0 },
    chats: [],
    settings: { queue: null, activation: null },
    owed: 0,
    dead: 0,
    last_seq: lastSeq,
  };
}

/** Whether lines continue each other's CRCs; `previous` is the CRC before the first. */
export function chainHolds(lines: readonly string[], previous: number): boolean {
  let crc = previous;
  return lines.every((line) => {
    const match = /^(.*),"crc":"([0-9a-f]{8})"\}$/s.exec(line);
    crc = crc32(match?.[1] ?? '', crc);
    return match?.[2] === crc.toString(16).padStart(8, '0');
  });
}

/** The lines of records. */
export function linesOf(records: readonly StoredRecord[]): string[] {
  return records.map(({ line }) => line);
}
