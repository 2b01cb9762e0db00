import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { EventOf, SessionEvent } from '@duragent/protocol';

/** A log as it lies on disk, read without any code of the product. */
export interface LogReading {
  session: string;
  events: SessionEvent[];
  /** The stored lines of the events. */
  lines: string[];
}

/**
 * Reads a session's log and checks it against the specification: the header, the CRC chain, `seq`
 * without a gap, epochs that never fall, a last line that is whole.
 * @throws Error saying what is wrong, and where.
 */
export async function readLog(sessionDir: string): Promise<LogReading> {
  const session = path.basename(sessionDir);
  const bytes = await readFile(path.join(sessionDir, 'events.jsonl'));
  const fault = (at: number, what: string): Error =>
    new Error(`${session}/events.jsonl at byte ${at}: ${what}`);
  const lines: string[] = [];
  const events: SessionEvent[] = [];
  let crc = 0;
  let epoch = 0;
  for (let at = 0; at < bytes.length;) {
    const lf = bytes.indexOf(0x0a, at);
    if (lf === -1) throw fault(at, 'the last line is cut');
    const line = bytes.subarray(at, lf);
    const body = line.subarray(0, line.length - ',"crc":"00000000"}'.length);
    crc = crc32(body, crc);
    const expected = `${body.toString()},"crc":"${crc.toString(16).padStart(8, '0')}"}`;
    if (line.toString() !== expected) throw fault(at, `the CRC does not fit: ${line.toString()}`);
    const value = JSON.parse(expected) as Record<string, unknown>;
    if (at === 0) {
      const header = { duragent_log: 1, session, first_seq: 1, prev_crc: '00000000' };
      if (!expected.startsWith(JSON.stringify(header).slice(0, -1))) throw fault(0, expected);
    } else {
      const event = value as unknown as SessionEvent;
      const names = Object.keys(value);
      if (names.slice(0, 4).join() !== 'seq,epoch,at,type') throw fault(at, names.join());
      if (event.seq !== events.length + 1) throw fault(at, `seq ${event.seq}`);
      if (event.epoch < epoch) throw fault(at, `epoch ${event.epoch} after ${epoch}`);
      epoch = event.epoch;
      events.push(event);
      lines.push(expected);
    }
    at = lf + 1;
  }
  if (bytes.length === 0) throw fault(0, 'it is empty');
  return { session, events, lines };
}

/** Reads and checks every log of a data directory, settled as `settledFaults` means it. */
export async function readAllLogs(dataDir: string): Promise<LogReading[]> {
  const folder = path.join(dataDir, 'sessions');
  // A kill leaves folders of other names, of sessions that were being made or deleted.
  const sessions = (await readdir(folder)).filter((name) => name.startsWith('session_'));
  return await Promise.all(sessions.map((name) => readLog(path.join(folder, name))));
}

/**
 * What is wrong with the conversation of a session that has nothing more to do: turns that overlap
 * or do not end exactly once, a step answered twice, a message that no turn took up, ids used twice.
 */
export function settledFaults(events: readonly SessionEvent[]): string[] {
  const faults: string[] = [];
  let open: EventOf<'turn_started'> | null = null;
  const turns = new Set<string>();
  const ids = new Set<string>();
  const answered = new Set<string>();
  for (const event of events) {
    const at = `seq ${event.seq}`;
    if (event.type === 'user_message' || event.type === 'assistant_message') {
      if (ids.has(event.message_id)) faults.push(`${at}: ${event.message_id} is there twice`);
      ids.add(event.message_id);
    }
    if (event.type === 'turn_started') {
      if (open) faults.push(`${at}: ${event.turn} begins within ${open.turn}`);
      if (turns.has(event.turn)) faults.push(`${at}: ${event.turn} begins twice`);
      turns.add(event.turn);
      open = event;
    } else if ('turn' in event) {
      if (open?.turn !== event.turn) faults.push(`${at}: ${event.type} outside of its turn`);
      if (event.type === 'turn_finished') open = null;
    }
    if (event.type === 'assistant_message') {
      const step = `${event.turn}/${event.step}`;
      if (answered.has(step)) faults.push(`${at}: ${step} is answered twice`);
      answered.add(step);
    }
  }
  if (open) faults.push(`${open.turn} has not ended`);
  return [...faults, ...untakenMessages(events)];
}

/** Messages that no turn was triggered by, and no step of a turn saw. */
function untakenMessages(events: readonly SessionEvent[]): string[] {
  const ended = events.some((event) => event.type === 'session_ended');
  const taken = new Set(
    events.flatMap((event) => (event.type === 'turn_started' ? event.trigger : [])),
  );
  return events
    .filter((event) => event.type === 'user_message')
    .filter((message) => message.handling === 'turn' && !ended && !taken.has(message.message_id))
    .filter(
      (message) =>
        !events.some(
          (event) => event.type === 'assistant_message' && event.input_seq >= message.seq,
        ),
    )
    .map((message) => `seq ${message.seq}: no turn took up ${message.message_id}`);
}

/** The events of one type. */
export function eventsOf<T extends SessionEvent['type']>(
  events: readonly SessionEvent[],
  type: T,
): EventOf<T>[] {
  return events.filter((event): event is EventOf<T> => event.type === type);
}

/** What was said in a message. */
export function textOf(message: {
  content: readonly { type: string; text?: string | undefined }[];
}): string {
  return message.content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
