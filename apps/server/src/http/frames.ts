import type { Delta } from '@duragent/protocol';
import type { StoredRecord } from '../ports/session-store.ts';
import type { Frame } from '../runtime/feed.ts';

/** Readers of one session get the same frame one after another: the last one is kept encoded. */
let last: { source: StoredRecord | Delta; text: string } | null = null;

/**
 * One frame of a session as bytes of `text/event-stream`. An event's data is its stored line and
 * its id its seq; a delta has no id, so a reader that resumes never skips an event.
 */
export function encodeFrame(frame: Frame): string {
  const source = frame.kind === 'event' ? frame.record : frame.delta;
  if (last?.source === source) return last.text;
  const text = frame.kind === 'event' ? encodeRecord(frame.record) : encodeDelta(frame.delta);
  last = { source, text };
  return text;
}

/** A frame that is no part of the session's log: without an id. */
export function encodeMessage(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

function encodeRecord({ event, line }: StoredRecord): string {
  // Types of newer versions come from a file: none may break out of its line.
  const type = /^\w{1,64}$/.test(event.type) ? event.type : 'event';
  return `id: ${event.seq}\nevent: ${type}\ndata: ${line}\n\n`;
}

function encodeDelta(delta: Delta): string {
  if (delta.type === 'token') {
    const { turn, step, attempt, offset, text } = delta;
    return `event: token\ndata: {"turn":"${turn}","step":${step},"attempt":${attempt},"offset":${offset},"text":${JSON.stringify(text)}}\n\n`;
  }
  const { type, ...data } = delta;
  return encodeMessage(type, data);
}
