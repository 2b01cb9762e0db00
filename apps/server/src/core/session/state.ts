import type {
  EndReason,
  OnDisconnect,
  OnInterrupt,
  Origin,
  PauseReason,
  QueueMode,
  ToolEffect,
  TurnLimits,
  TurnOutcome,
  Usage,
} from '@duragent/protocol';

/** Messages that may wait for the model at once; beyond it `receive` decides to nothing (`queue_full`). */
export const MAX_PENDING = 100;
/** Idempotency keys that a session remembers, and for how long. */
export const MAX_KEYS = 40;
export const KEY_TTL_MS = 24 * 60 * 60 * 1000;
/** Steps that a crash may cut in one turn before a person has to look at it. */
export const MAX_CRASH_RESUMES = 2;

/** A message that no model call has seen. */
export interface PendingMessage {
  seq: number;
  message_id: string;
}

/** An idempotency key, and what its message was answered with. */
export interface KnownKey {
  key: string;
  seq: number;
  message_id: string;
  /** The turn that answers it, where one is known. */
  turn?: string;
  at: string;
}

export interface OpenCall {
  call: string;
  /** `proposed`: the model asked for it; `started`: `tool_started` is recorded; `finished`: so is its result. */
  status: 'proposed' | 'started' | 'finished';
  name: string;
  effect: ToolEffect;
  onInterrupt: OnInterrupt;
  /** Seq of the event that proposed or started it. */
  seq: number;
}

export interface OpenTurn {
  turn: string;
  trigger: string[];
  agentHash: string;
  limits: TurnLimits;
  queue: QueueMode;
  startedSeq: number;
  /** Seq of the first message that it answers. */
  firstSeq: number;
  /** The step in work: 1, 2, 3 … */
  step: number;
  /** Its current try, over retries, fallbacks and restarts. */
  attempt: number;
  /** Tries of this step that failed with the current candidate. */
  failures: number;
  /** Which model is tried: 0 the agent's, 1… its fallbacks. */
  candidate: number;
  /** ISO instant before which the next try must not begin; null: at once. */
  retryAt: string | null;
  /** `model`: a model call is owed; `tools`: calls without a result; `answered`: the model asked for nothing more; `failed`: no try is left. */
  phase: 'model' | 'tools' | 'answered' | 'failed';
  /** Seq of the event that began the current phase or attempt. */
  phaseSeq: number;
  calls: OpenCall[];
  paused: PauseReason | null;
  /** Steps of this turn that a crash cut. */
  crashes: number;
  /** The last failure, for `turn_finished`. */
  error: { code: string; message: string } | null;
  usage: Usage;
  /** Working time before `workingSince`, in ms. */
  workedMs: number;
  /** ISO instant since which the turn works; null while paused. */
  workingSince: string | null;
}

/**
 * All that a session's log says, but for the conversation itself (window.ts). Plain JSON, made by
 * `evolve` only. What may gather in it is bounded, so that it stays under 16 KiB for any history.
 */
export interface SessionState {
  /** Seq and epoch of the last event; 0 before the first. */
  seq: number;
  epoch: number;
  session: string;
  agent: string;
  key?: string;
  labels: Record<string, string>;
  origin: Origin;
  onDisconnect?: OnDisconnect;
  createdAt: string;
  updatedAt: string;
  ended: { reason: EndReason; at: string } | null;
  turn: OpenTurn | null;
  pending: PendingMessage[];
  lastTurn: { turn: string; outcome: TurnOutcome } | null;
  turns: number;
  usage: Usage;
  /** Newest last. */
  keys: KnownKey[];
  /** Tokens of conversation that the window keeps; four times the last turn's limit. */
  windowTokens: number;
  /** The beginning of the last message of a person. */
  preview?: string;
}

/** The state of a log without a record. */
export function initialState(): SessionState {
  return {
    seq: 0,
    epoch: 0,
    session: '',
    agent: '',
    labels: {},
    origin: { kind: 'http' },
    createdAt: '',
    updatedAt: '',
    ended: null,
    turn: null,
    pending: [],
    lastTurn: null,
    turns: 0,
    usage: { input_tokens: 0, output_tokens: 0 },
    keys: [],
    windowTokens: 80_000,
  };
}
