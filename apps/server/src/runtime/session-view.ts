import type { SessionStatus, SessionView, TurnState } from '@duragent/protocol';
import { addressOf } from '../core/session/chat-key.ts';
import type { Chat, DeadDelivery, OpenDelivery, SessionState } from '../core/session/state.ts';
import type { SessionSummary } from '../core/session/summary.ts';
import type { Quarantine } from '../ports/session-store.ts';

/** What a summary does not know. */
interface Presence {
  /** Attached clients, and chats that show it and can be reached. */
  clients: number;
  isWorking: boolean;
  isQueued: boolean;
  quarantine: Quarantine | null;
}

/** A session as the API shows it, from its summary and, while it is open, who and what is there. */
export function viewOf(summary: SessionSummary, presence: Presence): SessionView {
  const { paused, waiting, asked: _a, has_work: _, chats, ...shown } = summary;
  return {
    ...shown,
    chats: chats.filter((chat) => chat.bound).map(shownChat),
    status: statusOf(summary, presence),
    turn_state: turnStateOf(paused, waiting, presence),
    clients: presence.clients,
    ...(presence.quarantine ? { quarantine: presence.quarantine } : {}),
  };
}

/** What a session owes to chats, and what died and may be tried again. */
export interface Outbox {
  owed: readonly OpenDelivery[];
  dead: readonly DeadDelivery[];
  /** What died before that, as far as it is in the log only; null: nothing. */
  older: SessionState['olderDead'];
  chats: readonly Chat[];
}

/** What a state says of its chats' deliveries. */
export function outboxOf({ deliveries, dead, olderDead, chats }: SessionState): Outbox {
  return { owed: deliveries, dead, older: olderDead, chats };
}

/** The approvals and questions that are open, with the seq of the record that asks. */
export function openRequests({ turn }: SessionState): { id: string; seq: number }[] {
  return (turn?.calls ?? []).flatMap(({ status, approval, question, seq }) => {
    const id = approval?.approval ?? question?.question;
    return status === 'asked' && id !== undefined ? [{ id, seq }] : [];
  });
}

/** A chat without what only the session needs to know of it. */
function shownChat(chat: SessionSummary['chats'][number]): SessionView['chats'][number] {
  const { chat_type, peer } = chat;
  return { ...addressOf(chat), chat_type, ...(peer === undefined ? {} : { peer }) };
}

function statusOf(summary: SessionSummary, presence: Presence): SessionStatus {
  if (presence.quarantine) return 'quarantined';
  if (summary.ended_at !== undefined) return 'ended';
  if (summary.paused_by !== undefined) return 'paused';
  if (presence.clients > 0) return 'active';
  return summary.paused ? 'paused' : 'running';
}

function turnStateOf(
  paused: boolean,
  waiting: SessionSummary['waiting'],
  presence: Presence,
): TurnState {
  if (paused) return 'paused';
  if (waiting) return waiting === 'approval' ? 'waiting_approval' : 'waiting_input';
  if (!presence.isWorking) return 'idle';
  return presence.isQueued ? 'queued' : 'working';
}
