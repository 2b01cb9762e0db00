import { workedMs } from './evolve.ts';
import type { SessionState } from './state.ts';

/** Work that a state owes the world. The key names the work, never the moment; each effect ends in one input. */
export type Effect =
  | {
      type: 'call_model';
      key: string;
      turn: string;
      step: number;
      attempt: number;
      /** 0: the agent's model; 1…: its fallbacks. */
      candidate: number;
      /** ISO instant before which it must not begin; null: at once. */
      notBefore: string | null;
    }
  | { type: 'run_tool'; key: string; turn: string; call: string }
  /** Ends in a `deadline` input at `at`, in ms since 1970. */
  | { type: 'wait_until'; key: string; turn: string; at: number };

/** What the state owes now, in the order in which it should begin. Ask only after `recover`. */
export function next(state: SessionState): Effect[] {
  const turn = state.turn;
  if (!turn || turn.paused || state.ended) return [];
  const effects: Effect[] = [];
  if (turn.phase === 'model') {
    effects.push({
      type: 'call_model',
      key: `call_model ${turn.turn}/${turn.step}/${turn.attempt}`,
      turn: turn.turn,
      step: turn.step,
      attempt: turn.attempt,
      candidate: turn.candidate,
      notBefore: turn.retryAt,
    });
  }
  for (const call of turn.calls) {
    if (call.status !== 'started') continue;
    effects.push({
      type: 'run_tool',
      key: `run_tool ${turn.turn}/${call.call}`,
      turn: turn.turn,
      call: call.call,
    });
  }
  const limit = turn.limits.turn_timeout_ms;
  if (limit !== null && turn.workingSince !== null) {
    effects.push({
      type: 'wait_until',
      key: `wait_until turn_timeout/${turn.turn}/${turn.workingSince}`,
      turn: turn.turn,
      at: Date.parse(turn.workingSince) + limit - workedMs(turn, turn.workingSince),
    });
  }
  return effects;
}
