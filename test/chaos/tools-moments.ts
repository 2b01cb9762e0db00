import { readFileSync, statSync, watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { LedgerEntry, ToolLedger } from '../support/tool-ledger.ts';

/** A moment in the life of a tool call that can be told from outside of the product. */
export type ToolMoment =
  | { kind: 'random' }
  /** As the server starts. */
  | { kind: 'start' }
  /** Bytes were written, and may not be synced, that hold an event of this type. */
  | { kind: 'log'; type: string; withinMs?: number }
  /** A command notes that it begins, or that it ends. */
  | { kind: 'ledger'; mark: LedgerEntry['mark']; withinMs: number };

/** All moments, as often as they are to be tried. */
export const toolMoments: readonly ToolMoment[] = [
  { kind: 'random' },
  { kind: 'random' },
  { kind: 'start' },
  { kind: 'log', type: 'assistant_message' },
  // Before the command is spawned, and before it does anything.
  { kind: 'log', type: 'tool_started' },
  { kind: 'log', type: 'tool_started', withinMs: 10 },
  { kind: 'log', type: 'tool_started', withinMs: 40 },
  // While it runs.
  { kind: 'ledger', mark: 'start', withinMs: 0 },
  { kind: 'ledger', mark: 'start', withinMs: 300 },
  // After it has done what it does, and before that is recorded.
  { kind: 'ledger', mark: 'end', withinMs: 0 },
  { kind: 'ledger', mark: 'end', withinMs: 4 },
  { kind: 'ledger', mark: 'end', withinMs: 12 },
  { kind: 'ledger', mark: 'end', withinMs: 40 },
  { kind: 'log', type: 'tool_finished' },
  // Between what people are asked, what they decide, and what comes of it.
  { kind: 'log', type: 'approval_requested', withinMs: 200 },
  { kind: 'log', type: 'approval_decided' },
  { kind: 'log', type: 'approval_decided' },
  { kind: 'log', type: 'approval_decided', withinMs: 10 },
  { kind: 'log', type: 'question_asked', withinMs: 200 },
  { kind: 'log', type: 'question_answered' },
];

/** A moment in words. */
export function nameOf(moment: ToolMoment): string {
  const later = 'withinMs' in moment ? ` and ${moment.withinMs} ms` : '';
  switch (moment.kind) {
    case 'random':
      return 'at random';
    case 'start':
      return 'while it starts';
    case 'log':
      return `a log grew by ${moment.type}${later}`;
    case 'ledger':
      return `a command noted its ${moment.mark}${later}`;
  }
}

/**
 * Waits for a moment in any of these logs, or in the ledger, but no longer than `patienceMs`, and
 * acts: at once or, where the moment says so, up to so much later.
 * @returns whether the moment had not come.
 */
export async function actAt(
  moment: ToolMoment,
  places: { logs: readonly string[]; ledger: ToolLedger; patienceMs: number },
  random: () => number,
  act: () => void,
): Promise<boolean> {
  const laterMs = random() * ('withinMs' in moment ? (moment.withinMs ?? 0) : 0);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const come = (): void => {
    // Without a timer it is at once.
    if (laterMs === 0) act();
    resolve(false);
  };
  const stop = watchFor(moment, places, come);
  const timer = setTimeout(() => resolve(true), places.patienceMs);
  const isLate = await promise;
  clearTimeout(timer);
  stop();
  if (isLate || laterMs > 0) {
    if (!isLate) await delay(laterMs);
    act();
  }
  return isLate;
}

function watchFor(
  moment: ToolMoment,
  { logs, ledger }: { logs: readonly string[]; ledger: ToolLedger },
  come: () => void,
): () => void {
  let isOver = false;
  const once = (): void => {
    if (!isOver) come();
    isOver = true;
  };
  if (moment.kind === 'ledger') {
    return ledger.watch(({ mark }) => {
      if (mark === moment.mark) once();
    });
  }
  if (moment.kind !== 'log') return () => undefined;
  const watchers = logs.flatMap((file) => {
    const sizeBefore = statSync(file, { throwIfNoEntry: false })?.size;
    if (sizeBefore === undefined) return [];
    return watch(file, () => {
      const added = readFileSync(file).subarray(sizeBefore).toString();
      if (added.includes(`"type":"${moment.type}"`)) once();
    });
  });
  return () => {
    for (const watcher of watchers) watcher.close();
  };
}
