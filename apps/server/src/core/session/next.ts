import { mayBegin } from './evolve-calls.ts';
import type { SessionInput } from './session-input.ts';
import type { Chat, OpenCall, OpenDelivery, SessionState } from './state.ts';
import { workedMs } from './working-time.ts';

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
  /** Sums up the conversation up to a seq, with the summary before it. */
  | { type: 'summarize'; key: string; upTo: number }
  /** Asks the policy about a call that may begin. */
  | { type: 'judge_call'; key: string; turn: string; call: string }
  | { type: 'run_tool'; key: string; turn: string; call: string; hash?: string }
  /** Ends in `input` at `at`, in ms since 1970. */
  | { type: 'wait_until'; key: string; at: number; input: SessionInput }
  | {
      type: 'deliver';
      key: string;
      delivery: OpenDelivery;
      chat: Chat;
    };

/** What the state owes now, in the order in which it should begin. Ask only after `recover`. */
export function next(state: SessionState): Effect[] {
  return [
    ...owedByTurn(state),
    ...owedByBursts(state),
    ...owedToChats(state),
    ...owedToModel(state),
  ];
}

/** The summary that the next calls will be given. While nothing goes on it need not hurry. */
function owedToModel({ turn, ended, pausedBy, summary: { wanted } }: SessionState): Effect[] {
  const isHeld = turn ? turn.paused !== null : pausedBy !== null;
  if (!wanted || ended || isHeld) return [];
  return [{ type: 'summarize', key: `summarize ${wanted.upTo}`, upTo: wanted.upTo }];
}

function owedByTurn({ turn, ended, pausedBy }: SessionState): Effect[] {
  if (!turn || ended) return [];
  const effects = turn.calls.flatMap(expiryOf);
  if (turn.paused) return effects;
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
    const work = `${turn.turn}/${call.call}`;
    if (call.status === 'started') {
      const key = `run_tool ${work}`;
      const { hash } = call;
      effects.push({
        type: 'run_tool',
        key,
        turn: turn.turn,
        call: call.call,
        ...(hash === undefined ? {} : { hash }),
      });
    } else if (pausedBy === null && call.status === 'proposed' && mayBegin(turn, call)) {
      const key = `judge_call ${work}/${call.asks ?? 0}`;
      effects.push({ type: 'judge_call', key, turn: turn.turn, call: call.call });
    }
  }
  const limit = turn.limits.turn_timeout_ms;
  if (limit !== null && turn.workingSince !== null) {
    effects.push({
      type: 'wait_until',
      key: `wait_until turn_timeout/${turn.turn}/${turn.workingSince}`,
      input: { type: 'deadline', turn: turn.turn },
      at: Date.parse(turn.workingSince) + limit - workedMs(turn, turn.workingSince),
    });
  }
  return effects;
}

/** The end of the time that people have to speak about a call. */
function expiryOf({ status, approval, question }: OpenCall): Effect[] {
  const id = approval?.approval ?? question?.question;
  const expires_at = approval?.expires_at ?? question?.expires_at ?? null;
  if (status !== 'asked' || id === undefined || expires_at === null) return [];
  const key = `wait_until expiry/${id}`;
  return [{ type: 'wait_until', key, at: Date.parse(expires_at), input: { type: 'expire', id } }];
}

/** The end of the first burst, when its messages may start a turn. */
function owedByBursts({ turn, pending, ended, pausedBy }: SessionState): Effect[] {
  if (turn || ended || pausedBy !== null) return [];
  const held = pending.flatMap((message) => message.held_until ?? []).sort();
  const [first] = held;
  if (first === undefined) return [];
  const key = `wait_until burst/${first}`;
  return [{ type: 'wait_until', key, at: Date.parse(first), input: { type: 'wake' } }];
}

/** The oldest delivery of each chat, so that they come in order. */
function owedToChats({ deliveries, chats }: SessionState): Effect[] {
  const effects: Effect[] = [];
  const seen = new Set<number>();
  for (const delivery of deliveries) {
    const chat = chats.find((one) => one.since === delivery.chat);
    if (!chat || seen.has(chat.since)) continue;
    seen.add(chat.since);
    const { out, part, attempt } = delivery;
    effects.push({ type: 'deliver', key: `deliver ${out}/${part}/${attempt}`, delivery, chat });
  }
  return effects;
}
