import type {
  OnDisconnect,
  OnUncertain,
  QueueMode,
  ToolCall,
  TurnLimits,
} from '@duragent/protocol';
import type { TextLimits } from '../split.ts';

/** What somebody said to a question. */
export interface GivenAnswer {
  answer: string;
  by: string;
  message_id: string;
}

/** The settings and the moment a decision is made with; stamped by the actor. */
export interface Rules {
  /** Wall clock, ms since 1970. */
  now: number;
  epoch: number;
  agentHash: string;
  limits: TurnLimits;
  /** What a new chat is told before its first answer; null: nothing. */
  greeting: string | null;
  /** The agent's setting; null: by where the message came from. */
  queue: QueueMode | null;
  /** How messages of chats wait. */
  waiting: {
    maxPending: number;
    overflow: 'drop_old' | 'drop_new' | 'reject';
    rejectMessage: string;
    /** Messages of one sender that come so soon after another are held together, in ms; 0: never. */
    debounceMs: number;
  };
  delivery: {
    onUncertain: OnUncertain;
    /** Whether what is said elsewhere is shown in a session's chats. */
    mirror: boolean;
    ttlMs: number;
    /** How long the parts for a gateway may be. */
    limits: (gateway: string) => TextLimits;
  };
  /** The agent's setting, else the server's; the session's own goes first. */
  onDisconnect: OnDisconnect;
  /** How long an approval waits, in ms; 0: for ever. */
  approvalTimeoutMs: number;
  /** The tool calls of the last assistant message: their arguments, which the state does not hold. */
  calls: readonly ToolCall[];
  /** Those that have their result. */
  finished: ReadonlySet<string>;
  /** What people answered to questions, by call, and what holds when nobody does. */
  answers: ReadonlyMap<string, { answer: string | null; by: string }>;
  defaults: ReadonlyMap<string, string>;
  /** Calls that were cut, and that people are asked about: what each had printed. */
  interrupted: ReadonlyMap<string, string>;
  /** Messages that answer a question, by question: the log may have been cut behind them. */
  given: ReadonlyMap<string, GivenAnswer>;
  /** `<gateway>:<id>` of whoever the open turn answers, where a person of a chat wrote it. */
  requester: string | null;
  /** For how long this turn has worked with nobody attached, in ms, and whether nobody is now. */
  background: { turn: string | null; ms: number; isAlone: boolean };
  /** How long a turn may, in ms; 0: for ever. The agent's, else the server's. */
  maxBackgroundMs: number;
  /** The turn that everyone left while it worked, 5 s ago or more; null: somebody is there, or nobody was. */
  leftTurn: string | null;
}
