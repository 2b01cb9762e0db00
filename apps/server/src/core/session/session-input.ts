import type {
  AssistantPart,
  ChatAddress,
  ChatType,
  EndReason,
  ErrorInfo,
  Handling,
  MessageSource,
  OnDisconnect,
  Origin,
  ToolCall,
  ToolOutcome,
  Usage,
  UserPart,
} from '@duragent/protocol';

/** What may be submitted to a session. Ids are made by whoever submits; a repeated or stale input decides to nothing. */
export type SessionInput =
  | {
      type: 'start';
      session: string;
      agent: string;
      key?: string;
      origin: Origin;
      on_disconnect?: OnDisconnect;
      labels: Record<string, string>;
      /** The chat that it is made for. */
      chat?: ChatBinding;
    }
  | {
      type: 'receive';
      message_id: string;
      source: MessageSource;
      content: UserPart[];
      handling: Handling;
      /** A new text of the message that its chat knows by this id. */
      edits?: string;
      /** What was shown of the answer in progress, should the message interrupt it. */
      draft?: Draft;
    }
  | { type: 'bind'; chat: ChatBinding }
  | { type: 'unbind'; chat: ChatAddress; by: string }
  | { type: 'set'; name: 'queue' | 'activation'; value: string | null; by: string }
  | {
      type: 'model_finished';
      turn: string;
      step: number;
      attempt: number;
      message_id: string;
      input_seq: number;
      content: AssistantPart[];
      tool_calls: ToolCall[];
      finish_reason: string;
      usage?: Usage;
      model: string;
    }
  | {
      type: 'model_failed';
      turn: string;
      step: number;
      attempt: number;
      model: string;
      error: ErrorInfo;
      retryable: boolean;
      retryAfterMs?: number;
      usage?: Usage;
    }
  | {
      type: 'tool_result';
      turn: string;
      call: string;
      outcome: ToolOutcome;
      content: string;
      details: Record<string, unknown>;
    }
  /** A person stops the turn; `draft` is what they saw of the answer so far. */
  | { type: 'cancel'; draft?: Draft }
  | { type: 'deadline'; turn: string }
  /** Time has passed that something waited for. */
  | { type: 'wake' }
  | { type: 'preview_posted'; out: string; message: string }
  /** A part is about to be sent. */
  | { type: 'deliver_start'; out: string; part: number; attempt: number }
  | ({ type: 'deliver_end'; out: string; part: number; attempt: number } & DeliveryEnd)
  /** A person wants a dead delivery tried again, or one that is owed or dead given up. */
  | { type: 'deliver_again'; out: string }
  | { type: 'deliver_never'; out: string }
  | { type: 'attach' }
  | { type: 'detach' }
  | { type: 'drain' }
  /** First for a log that was opened: `openedSeq` is its last record, and nothing up to it is in flight. */
  | { type: 'recover'; openedSeq: number; torn?: { bytes: number; savedAs: string } }
  | { type: 'end'; reason: EndReason; draft?: Draft };

/** What became of one try to send a part. */
export type DeliveryEnd =
  | { outcome: 'delivered'; message?: string }
  /** It was certainly not posted; tried again. */
  | { outcome: 'failed'; error: ErrorInfo; retryAfterMs?: number }
  /** It may have been posted. */
  | { outcome: 'uncertain'; error: ErrorInfo; retryAfterMs?: number }
  | { outcome: 'dead'; error: ErrorInfo };

export interface ChatBinding extends ChatAddress {
  chat_type: ChatType;
  peer?: string;
  /** Inbox numbers up to this one are no messages of this session. */
  inbox: number;
  by: string;
}

/** The text of a step that has not ended. */
export interface Draft {
  turn: string;
  step: number;
  attempt: number;
  message_id: string;
  input_seq: number;
  text: string;
  model: string;
}
