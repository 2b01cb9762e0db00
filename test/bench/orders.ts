/** What the bench tells a scripted gateway to do. Orders are done one after another. */
export type Order =
  /** People in `chats` chats at once, each of whom writes `each` messages, one behind the other. */
  | {
      do: 'talk';
      /** Begins the ids of the chats: those of an earlier order go on under the same. */
      chat: string;
      chats: number;
      each: number;
      /** Whether they wait for the answer to each, or only for its ack. The latter is said in a group. */
      until: 'answered' | 'acked';
      /** Between what they waited for and the next message, on average; 0: none. */
      pauseMs: number;
    }
  /** A message every `everyMs` on average, in each of `chats` chats in turn, until `rest`. */
  | { do: 'load'; chat: string; chats: number; everyMs: number }
  /** Ends a load, and waits until all of it is answered. */
  | { do: 'rest' };

/** What came of an order. */
export interface Outcome {
  /** Of each message of a talk, from before its line was written until its ack was read, in ms. */
  ackMs: number[];
  /** The same until the line that answers it was read and its `command_ok` written; empty where nobody waits. */
  answerMs: number[];
  /** From the first line to the last that was waited for, in ms. */
  totalMs: number;
  /** Messages of a load that were answered, and how many at most were not yet. */
  answered: number;
  mostOpen: number;
}

/** What the gateway is told in `configure`: where its orders come from, and who it is there. */
export interface OrderConfig {
  port: number;
  key: string;
}

/** A gateway's answer to an order. */
export type Reply = { outcome: Outcome } | { error: string };
