import type { EndReason, Origin, Usage } from '@duragent/protocol';
import type { SessionState } from './state.ts';

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
  /** Whether a turn is open and paused. */
  paused: boolean;
  turns: number;
  usage: Usage;
  last_seq: number;
  /** The beginning of the last message of a person. */
  preview?: string;
  /** First 16 hex digits of the SHA-256 of the Idempotency-Key that created it. */
  idempotency?: string;
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
    paused: state.turn?.paused != null,
    turns: state.turns,
    usage: state.usage,
    last_seq: state.seq,
    ...(state.preview === undefined ? {} : { preview: state.preview }),
  };
}
