import type {
  ApprovalDecision,
  ChatAddress,
  ChatType,
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
export const MAX_PENDING = 40;
/** Idempotency keys that the state holds, and for how long one is known; `OlderKeys` finds the others in the log. */
export const MAX_KEYS = 32;
export const KEY_TTL_MS = 24 * 60 * 60 * 1000;
/** Steps that a crash may cut in one turn before a person has to look at it. */
export const MAX_CRASH_RESUMES = 2;

/** Chats that one session may be bound to. */
export const MAX_CHATS = 6;
/** Deliveries that may be owed at once; beyond it the oldest is dead. */
export const MAX_DELIVERIES = 20;
/** Dead deliveries that are kept at hand for another try; older ones are in the log only. */
export const MAX_DEAD = 6;
/** Senders whose last message is remembered, to hold a burst together. */
export const MAX_BURSTS = 6;
/** Messages of bots that are answered without a person between them. */
export const MAX_BOT_RUN = 20;

/** A message that no model call has seen. */
export interface PendingMessage {
  seq: number;
  message_id: string;
  /** The `since` of the chat that it was said in, and its id there. */
  chat?: number;
  platform_id?: string;
  /** Chats that get the answer beside those of the session. */
  deliverTo?: ChatAddress[];
  /** ISO instant before which it starts no turn by itself, and whose burst it is of. */
  held_until?: string;
  sender?: string;
}

/** A chat that shows and drives the session, or one that a delivery is still owed to. */
export interface Chat extends ChatAddress {
  /** Seq of the event that brought it here: its name within the session. */
  since: number;
  chat_type: ChatType;
  /** The person of a direct chat. */
  peer?: string;
  /** The highest of its inbox numbers that this session has, or is not to have. */
  inbox: number;
  bound: boolean;
  /** The platform gave it another id: what it saw begin ends there. */
  moved?: true;
}

/** A delivery that is owed. Its text and parts are in the record `seq`. */
export interface OpenDelivery {
  out: string;
  seq: number;
  /** The `since` of its chat. */
  chat: number;
  /** The part in work: 1, 2, 3 … */
  part: number;
  parts: number;
  /** Its current try. */
  attempt: number;
  status: 'owed' | 'started';
  /** How many tries of this part may have been posted; absent: none. */
  uncertain?: number;
  /** Seq of the event that began this status. */
  at: number;
  /** ISO instant before which the next try must not begin. */
  retry_at?: string;
  /** The platform's message that part 1 finishes. */
  preview?: string;
  /** A new end of its time, where somebody asked for another try: it is repeated, whatever `on_uncertain` says. */
  expires_at?: string;
  /** The part that is a card: it has the buttons. */
  card?: number;
  /** The delivery whose card it edits; `preview` is that card's message once it is known. */
  edits?: string;
}

/** A card with buttons that a chat shows. */
export interface Card {
  /** The delivery that showed it. */
  out: string;
  /** The `since` of its chat. */
  chat: number;
  /** The platform's id of its message. */
  message: string;
}

/** A delivery that ended without being shown whole. */
export interface DeadDelivery {
  out: string;
  seq: number;
  chat: number;
  part: number;
  parts: number;
  attempt: number;
  /** Whether its last try may have been posted. */
  uncertain: boolean;
  /** When, ISO, and why. */
  died_at: string;
  code: string;
  preview?: string;
  /** As in `OpenDelivery`. */
  card?: number;
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

/** Calls that a step may ask for; those beyond it are left out, and the model is told. */
export const MAX_CALLS = 16;

export interface OpenCall {
  call: string;
  /**
   * `proposed`: the model asked for it, and the policy has not spoken; `asked`: people have to
   * decide or answer; `decided`: they have, and what follows from it is not recorded yet; `started`:
   * `tool_started` is recorded; `finished`: so is its result.
   */
  status: 'proposed' | 'asked' | 'decided' | 'started' | 'finished';
  effect: ToolEffect;
  onInterrupt: OnInterrupt;
  /** Seq of the event that began this status. */
  seq: number;
  /** Of what a started call does. */
  hash?: string;
  /** The approval that it waits for, or that was decided. */
  approval?: OpenApproval;
  question?: OpenQuestion;
  /** Approvals that were asked for it so far; absent: none. */
  asks?: number;
  /** Whether people were told what the policy wants them to know of it; once it is started, what it is to tell them. */
  told?: true;
  /** Where people see that they are asked; absent: nowhere yet. */
  cards?: Card[];
}

export interface OpenApproval {
  approval: string;
  /** Of what it allows. */
  hash: string;
  /** Whether `allow_always` can be stored. */
  always: boolean;
  /** ISO; null: it waits for ever. */
  expires_at: string | null;
  decision?: ApprovalDecision | 'expire';
  by?: string;
  decided_at?: string;
}

export interface OpenQuestion {
  question: string;
  /** How many choices it has; 0: any text is an answer. */
  choices: number;
  /** ISO; null: it waits for ever. */
  expires_at: string | null;
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
  /** What to answer to in the chat that asked: the `since` of the chat, and the message there. */
  replyTo: { chat: number; message: string } | null;
  /** Chats that get its answers beside those of the session. */
  deliverTo: ChatAddress[];
  /** The last failure, for `turn_finished`. */
  error: { code: string; message: string } | null;
  usage: Usage;
  /** For how long it has worked with nobody attached, in ms, as far as it is recorded. */
  unattendedMs: number;
  /** How much of that was over when somebody last let it go on. */
  unattendedFrom: number;
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
  /** Who paused it, until somebody resumes it; null: nobody has. */
  pausedBy: string | null;
  turn: OpenTurn | null;
  pending: PendingMessage[];
  lastTurn: { turn: string; outcome: TurnOutcome } | null;
  turns: number;
  usage: Usage;
  /** Newest last. */
  keys: KnownKey[];
  /** Tokens of conversation that the window keeps; four times the last turn's limit. */
  windowTokens: number;
  summary: SummaryState;
  /** The beginning of the last message of a person. */
  preview?: string;
  /** Oldest first. */
  chats: Chat[];
  deliveries: OpenDelivery[];
  /** Newest last. */
  dead: DeadDelivery[];
  /** Those that died before them: how many, and the seq of the first record that owed one; the log has the rest. */
  olderDead: { count: number; from: number } | null;
  /** Previews of the open step that are on a platform: their delivery will finish them. */
  previews: { out: string; message: string }[];
  /** When each sender in a chat spoke last, and since when they are held together. Newest last. */
  bursts: { sender: string; at: string; heldSince: string | null }[];
  /** Whether people were told something beside the conversation. */
  greeted: boolean;
  /** Messages of bots since the last one of a person. */
  botRun: number;
  /** What people set in this session; null: as the agent says. */
  settings: { queue: QueueMode | null; activation: 'mention' | 'always' | null };
}

/** How far the conversation is summarized. */
export interface SummaryState {
  /** The conversation up to this seq is; 0: nothing is. */
  upTo: number;
  /** Seq of the record that holds the text. */
  seq: number;
  /** Seq of the first event that is still needed beside the summary. */
  keepFrom: number;
  /** What is owed; null: nothing. */
  wanted: { upTo: number; keepFrom: number } | null;
  /** Up to where the last one was tried that failed; 0: it did not. */
  failed: number;
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
    pausedBy: null,
    turn: null,
    pending: [],
    lastTurn: null,
    turns: 0,
    usage: { input_tokens: 0, output_tokens: 0 },
    keys: [],
    windowTokens: 80_000,
    summary: { upTo: 0, seq: 0, keepFrom: 0, wanted: null, failed: 0 },
    chats: [],
    deliveries: [],
    dead: [],
    olderDead: null,
    previews: [],
    bursts: [],
    greeted: false,
    botRun: 0,
    settings: { queue: null, activation: null },
  };
}
