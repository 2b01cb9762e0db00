import type {
  AssistantPart,
  EndReason,
  ErrorInfo,
  Handling,
  MessageSource,
  OnDisconnect,
  Origin,
  TextPart,
  ToolCall,
  ToolOutcome,
  Usage,
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
    }
  | {
      type: 'receive';
      message_id: string;
      source: MessageSource;
      content: TextPart[];
      handling: Handling;
    }
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
  | { type: 'attach' }
  | { type: 'detach' }
  | { type: 'drain' }
  /** First for a log that was opened: `openedSeq` is its last record, and nothing up to it is in flight. */
  | { type: 'recover'; openedSeq: number; torn?: { bytes: number; savedAs: string } }
  | { type: 'end'; reason: EndReason; draft?: Draft };

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
