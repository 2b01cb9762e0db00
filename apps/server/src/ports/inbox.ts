import type { GatewayLimits, InboundEvent } from '@duragent/protocol';

/**
 * What route and access made of an arrival: `turn` the agent answers; `passive` the model sees it
 * later; `silent` kept for audit; `pairing` the sender is told how to be let in; `command` a slash
 * command or a press for the server itself; `migrate` the chat has another id; `unjudged` its agent does not load now, and is asked again at hand-over; `block` and
 * `no_route` nothing, and its text is not kept.
 */
export type Disposition =
  | 'turn'
  | 'passive'
  | 'silent'
  | 'pairing'
  | 'command'
  | 'migrate'
  | 'unjudged'
  | 'block'
  | 'no_route';

/** One arrival as the inbox keeps it. */
export interface InboxEntry {
  /** 1, 2, 3 … without a gap. */
  n: number;
  /** Names the arrival: the same on every redelivery. */
  key: string;
  /** When it was appended: UTC with milliseconds, ISO 8601. */
  at: string;
  /** Where the gateway goes on after it; absent where it gave none. */
  cursor?: unknown;
  disposition: Disposition;
  /** The agent it is for; absent for `block` and `no_route`. */
  agent?: string;
  /** The arrival itself; absent for `block` and `no_route`, and once it was handed over and rotated away. */
  event?: InboundEvent;
}

/** The durable list of what one gateway's platform sent. One writer. */
export interface Inbox {
  /** The newest cursor that is durable; null: none was given yet. */
  readonly cursor: unknown;
  /** The gateway's newest limits that were kept; null: none yet. */
  readonly limits: GatewayLimits | null;
  /** Whether a key is among those that are remembered (72 h or 20,000 entries, whichever is more). */
  has(key: string): boolean;
  /**
   * Appends an arrival. Calls may overlap: those that arrive while a sync runs are written together
   * and share the next one. One whose key is known, durable or on its way, is not appended.
   * @returns the entry, once it is durable; null for a known key, once the first of it is durable.
   * @throws DuragentError `record_too_large`; `storage_full` or `storage_failed`: then nothing more is
   *   taken until a later append succeeds or, after a failed sync, the inbox is opened anew.
   */
  append(entry: Omit<InboxEntry, 'n'>): Promise<InboxEntry | null>;
  /** Remembers, lazily, that everything up to `n` was handed over: with the next append, and by `close`. */
  mark(n: number): void;
  /** Writes the mark now, in the background, where it is ahead of what is durable. */
  flush(): void;
  /** Remembers, lazily, the newest limits. */
  keepLimits(limits: GatewayLimits): void;
  /** Writes what is left and closes the file. */
  close(): Promise<void>;
}

/** Opens inboxes. */
export interface InboxStore {
  /**
   * Opens a gateway's inbox, made if there is none: checks it, cuts off a torn end. A new one
   * numbers its entries above `after`.
   * @returns it with every entry after the last mark, oldest first: they are to be handed over (again).
   * @throws DuragentError `log_corrupt` where a record before the end does not check, `log_newer`,
   *   `storage_full`, `storage_failed`.
   */
  open(
    gateway: string,
    options?: { after?: number },
  ): Promise<{ inbox: Inbox; unhanded: InboxEntry[] }>;
}
