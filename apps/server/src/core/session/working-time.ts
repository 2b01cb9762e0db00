import { waitsForPeople } from './evolve-calls.ts';
import type { OpenTurn } from './state.ts';

/** Working time of a turn up to an instant, in ms; what a jump of the clock took back counts as 0. */
export function workedMs(turn: OpenTurn, at: string): number {
  return turn.workedMs + (turn.workingSince === null ? 0 : ageMs(turn.workingSince, at));
}

/** The turn as it counts time from this instant on: none in which it is paused or waits for people. */
export function keepTime(turn: OpenTurn, at: string): OpenTurn {
  const works = turn.paused === null && !waitsForPeople(turn);
  if (works === (turn.workingSince !== null)) return turn;
  return { ...turn, workedMs: workedMs(turn, at), workingSince: works ? at : null };
}

/** What may be missing behind the last record of a turn that a crash cut, in ms. */
const MAX_CUT_MS = 5 * 60 * 1000;

/** How long a turn may have worked since the last record of its log: all the time up to now, but not for ever. */
export function cutWorkMs(turn: OpenTurn, lastAt: string, now: string): number {
  return turn.workingSince === null ? 0 : Math.min(ageMs(lastAt, now), MAX_CUT_MS);
}

/** Time between two ISO instants, in ms; 0 where the clock was set back, or one of them cannot be read. */
export function ageMs(from: string, to: string): number {
  const age = Date.parse(to) - Date.parse(from);
  return Number.isFinite(age) ? Math.max(0, age) : 0;
}
