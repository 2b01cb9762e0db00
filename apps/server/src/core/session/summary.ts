import type { EndReason, Origin, Usage } from '@duragent/protocol';
import { waitsForPeople } from './evolve-calls.ts';
import type { Chat, OpenTurn, SessionState } from './state.ts';

/** What listings show of a session without opening it. Plain JSON. */
export interface SessionSummary {
  session: string;
  agent: string;
  key?: string;
  labels: Record<string, string>;
  origin: Origin;
  created_at: string;
  updated_at: string;
  ended_at?: string;
  end_reason?: EndReason;
  /** Who holds the session; absent: nobody. */
  paused_by?: string;
  /** Whether a turn is open and paused. */
  paused: boolean;
  /** What people have to do before its turn goes on; null: nothing. */
  waiting: 'approval' | 'input' | null;
  /** Approvals and questions that are open. */
  asked: number;
  /** Whether it would go on by itself if it were open. */
  has_work: boolean;
  turns: number;
  usage: Usage;
  last_seq: number;
  /** The beginning of the last message of a person. */
  preview?: string;
  /** The chats that show and drive it (`bound`), and those that did and are still known. */
  chats: Chat[];
  settings: SessionState['settings'];
  /** Deliveries that are owed, and those that are dead and kept for another try. */
  owed: number;
  dead: number;
}

/** Whether the session goes on by itself: a delivery, a turn that waits for nobody, a time that runs out, or a message without a turn. */
export function hasWork(state: SessionState): boolean {
  const { deliveries, ended, turn } = state;
  // What a stop has paused is resumed, also where it only waits for people then.
  const isParked = !ended && turn?.paused === 'drain';
  return deliveries.length > 0 || hasTurn(state) || expires(turn) || isParked;
}

/** Whether its turn goes on by itself, or a message waits for one. */
export function hasTurn({ turn, pending, ended, pausedBy }: SessionState): boolean {
  if (ended) return false;
  if (!turn) return pausedBy === null && pending.length > 0;
  const isLetGo = turn.paused === 'operator' && pausedBy === null;
  const goesOn = turn.paused === null || turn.paused === 'drain' || isLetGo;
  return goesOn && !waitsForPeople(turn);
}

function asked(turn: OpenTurn | null) {
  return turn?.calls.filter((call) => call.status === 'asked') ?? [];
}

function expires(turn: OpenTurn | null): boolean {
  return asked(turn).some(({ approval, question }) => {
    return (approval?.expires_at ?? question?.expires_at ?? null) !== null;
  });
}

function waitingFor(turn: OpenTurn | null): SessionSummary['waiting'] {
  if (!turn || !waitsForPeople(turn)) return null;
  return asked(turn).some((call) => call.approval) ? 'approval' : 'input';
}

export function summarize(state: SessionState): SessionSummary {
  return {
    session: state.session,
    agent: state.agent,
    ...(state.key === undefined ? {} : { key: state.key }),
    labels: state.labels,
    origin: state.origin,
    created_at: state.createdAt,
    updated_at: state.updatedAt,
    ...(state.ended ? { ended_at: state.ended.at, end_reason: state.ended.reason } : {}),
    ...(state.pausedBy === null ? {} : { paused_by: state.pausedBy }),
    paused: state.turn?.paused != null,
    waiting: waitingFor(state.turn),
    asked: asked(state.turn).length,
    has_work: hasWork(state),
    turns: state.turns,
    usage: state.usage,
    last_seq: state.seq,
    ...(state.preview === undefined ? {} : { preview: state.preview }),
    chats: state.chats,
    settings: state.settings,
    owed: state.deliveries.length,
    dead: state.dead.length + (state.olderDead?.count ?? 0),
  };
}
