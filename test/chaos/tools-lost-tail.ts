import { readFileSync, truncateSync } from 'node:fs';
import path from 'node:path';
import type { SessionEvent } from '@duragent/protocol';

/** What somebody has seen of a session whose server was killed, and so must not be lost. */
export interface Seen {
  /** The last event that a client was shown. */
  seq: number;
  /** Approvals, questions and texts of messages of which somebody was told that they hold. */
  acks: ReadonlySet<string>;
  /** Approvals and questions that people were asked. */
  asked: ReadonlySet<string>;
  /** Marks of calls that took effect. */
  tokens: ReadonlySet<string>;
}

/**
 * Takes events off the end of a log that nobody has seen anything of, as if they had not been synced
 * when the machine went down; what is left may end within a line. A kill alone loses nothing that
 * was written. @returns how many events were taken.
 */
export function loseTail(sessionDir: string, seen: Seen, random: () => number): number {
  const file = path.join(sessionDir, 'events.jsonl');
  const bytes = readFileSync(file);
  const lines = bytes.toString().split('\n').slice(0, -1);
  // What a snapshot holds was synced before it.
  const first = Math.max(seen.seq, snapshotSeq(sessionDir), 1);
  let most = 0;
  for (const line of lines.toReversed()) {
    const event = JSON.parse(line) as SessionEvent;
    if (!(event.seq > first) || isNoticed(line, event.type, seen)) break;
    most += 1;
  }
  const lost = Math.min(most, Math.floor(random() * (most + 1)));
  if (lost === 0) return 0;
  const kept = lines.slice(0, -lost).map((line) => `${line}\n`);
  const torn = lines.at(-lost) ?? '';
  const part = random() < 0.5 ? '' : torn.slice(0, Math.floor(random() * torn.length));
  truncateSync(file, Buffer.byteLength(kept.join('') + part));
  return lost;
}

function isNoticed(line: string, type: string, { acks, asked, tokens }: Seen): boolean {
  const has = (words: ReadonlySet<string>): boolean => [...words].some((one) => line.includes(one));
  const isAsking = type === 'approval_requested' || type === 'question_asked';
  return has(acks) || has(tokens) || (isAsking && has(asked));
}

function snapshotSeq(sessionDir: string): number {
  try {
    const text = readFileSync(path.join(sessionDir, 'state.yaml'), 'utf8');
    return (JSON.parse(text) as { seq: number }).seq;
  } catch {
    return 0;
  }
}
