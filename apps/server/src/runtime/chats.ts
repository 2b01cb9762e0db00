import type { InlineKeyboard, TextFormat } from '@duragent/protocol';
import type { Chat } from '../core/session/state.ts';
import type { DeliveryEnd } from '../core/session/session-input.ts';
import type { TextLimits } from '../core/split.ts';

/** One part of a delivery, as it is to be posted. */
export interface PartToSend {
  session: string;
  /** The name of its agent. */
  agent: string;
  chat: Chat;
  out: string;
  part: number;
  parts: number;
  attempt: number;
  content: { type: 'text'; text: string; format: TextFormat } | { type: 'file'; artifact: string };
  replyTo?: string;
  /** Buttons below it. */
  keyboard?: InlineKeyboard;
  /** The platform's message that this finishes. */
  preview?: string;
  /** It is a new text of `preview`, and never a message of its own; nothing where the platform cannot edit. */
  isEdit?: boolean;
  /** How many earlier tries may have been posted. */
  uncertainTries: number;
  onUncertain: 'resend_marked' | 'notify' | 'never';
  /** Ms since 1970: dead from then on. */
  expiresAt: number;
  /** Ms since 1970 of the record that owes it. */
  recordedAt: number;
}

/** The chats that sessions are shown in. */
export interface Chats {
  /** Bounds of a text part for a gateway. */
  limits(gateway: string): TextLimits;
  /** Whether a gateway can be reached, or could 30 s ago: its chats count as attached. */
  isPresent(gateway: string): boolean;
  /**
   * Posts one part, when its gateway is ready and its turn in the chat has come. `begin` is awaited
   * right before it is sent: what it records is durable then. Rejects only when the signal aborts.
   */
  send(
    part: PartToSend,
    options: { begin: () => Promise<void>; signal: AbortSignal },
  ): Promise<DeliveryEnd>;
  /** Whether a gateway shows replies while they are written. */
  showsPreviews(gateway: string): boolean;
  /**
   * Shows the text so far of what the delivery `out` will finish. Best effort. `isPosted`: a preview
   * of it is on the platform already.
   */
  preview(
    session: string,
    chat: Chat,
    out: string,
    shown: { text: () => string; isPosted: boolean; replyTo?: string },
  ): void;
  /** Shows how far a session's turn is; null: it has ended, and nothing more is shown of it. Best effort. */
  progress(
    session: string,
    shown: { turn: string; chats: readonly Chat[]; text: string } | null,
  ): void;
  /** Says in which chats a session's turn works now; none: it does not. */
  working(session: string, chats: readonly Chat[]): void;
}
