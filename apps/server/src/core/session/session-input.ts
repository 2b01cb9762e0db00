import type {
  ApprovalDecision,
  AssistantPart,
  ChatAddress,
  ChatType,
  Command,
  EndReason,
  ErrorInfo,
  GivenContext,
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
      /** Chats that get the answer beside those of the session. */
      deliver_to?: ChatAddress[];
      /** A new text of the message that its chat knows by this id. */
      edits?: string;
      /** What was shown of the answer in progress, should the message interrupt it. */
      draft?: Draft;
    }
  /** People are told something, in these chats or, with null, in those of the session. Once for each `idempotency`. */
  | { type: 'notify'; idempotency: string; text: string; chats: ChatAddress[] | null }
  /** A call tells people something, once. */
  | { type: 'tell'; turn: string; call: string; text: string; chats: ChatAddress[] | null }
  | { type: 'bind'; chat: ChatBinding }
  | { type: 'unbind'; chat: ChatAddress; by: string }
  /** A bound chat goes on under another id of its platform. */
  | { type: 'move'; from: ChatAddress; chat: ChatBinding }
  | { type: 'set'; name: 'queue' | 'activation'; value: string | null; by: string }
  | {
      type: 'model_finished';
      turn: string;
      step: number;
      attempt: number;
      message_id: string;
      input_seq: number;
      given?: GivenContext;
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
  | { type: 'summary_finished'; up_to_seq: number; summary: string; usage?: Usage; model: string }
  | { type: 'summary_failed'; up_to_seq: number; error: ErrorInfo; usage?: Usage; model: string }
  /** What the policy makes of a call that the model asked for. */
  | { type: 'call_judged'; turn: string; call: string; verdict: CallVerdict }
  | { type: 'decide_approval'; approval: string; decision: ApprovalDecision; by: string }
  | { type: 'answer_question'; question: string; answer: string; by: string }
  /** An approval's or a question's time is over. */
  | { type: 'expire'; id: string }
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
  /** The turn may have worked with nobody attached for as long as it may. */
  | { type: 'background_limit'; turn: string }
  /** Time has passed that something waited for. */
  | { type: 'wake' }
  | { type: 'preview_posted'; out: string; message: string }
  /** A part is about to be sent. */
  | { type: 'deliver_start'; out: string; part: number; attempt: number }
  | ({ type: 'deliver_end'; out: string; part: number; attempt: number } & DeliveryEnd)
  /** A person wants a dead delivery tried again, or one that is owed or dead given up. */
  | { type: 'deliver_again'; out: string }
  /** `older`: one that is dead in the log only, as whoever submits it has seen there. */
  | { type: 'deliver_never'; out: string; older?: { part: number; attempt: number } }
  /** An operator holds the session, or lets it go on. */
  | { type: 'pause'; by: string }
  | { type: 'resume'; by: string }
  | { type: 'attach' }
  | { type: 'detach' }
  /** The server stops. `outputs`: what the tools that are under way have said, by call. */
  | { type: 'drain'; outputs?: Readonly<Record<string, string>> }
  /** First for a log that was opened: `openedSeq` is its last record, and nothing up to it is in flight. */
  | {
      type: 'recover';
      openedSeq: number;
      torn?: { bytes: number; savedAs: string };
      /** The model call that was cut, and what it is charged with. */
      cut?: { usage: Usage; model: string };
      /** What the tools that were under way had said, by call. */
      outputs?: Readonly<Record<string, string>>;
    }
  | { type: 'end'; reason: EndReason; draft?: Draft };

/** What becomes of a call. */
export type CallVerdict =
  /** It is started; `notify`: people are told so. */
  | { kind: 'run'; hash: string; notify: string | null }
  | { kind: 'refuse'; outcome: 'denied' | 'error'; content: string; notify?: string | null }
  | {
      kind: 'approve';
      hash: string;
      tool: string;
      /** The whole of what it would do, in words. */
      shown: string;
      command?: Command;
      reason: string;
      /** The rule that "Allow always" would store; null: none can be. */
      always: string | null;
      /** The file that holds `shown`, for chats that it does not fit into. */
      file?: string;
    }
  | {
      kind: 'ask';
      text: string;
      choices?: string[];
      default?: string;
      /** null: it waits for ever. */
      timeoutMs: number | null;
    };

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
  /** What it is charged with: nobody knows what it used. */
  usage?: Usage;
}
