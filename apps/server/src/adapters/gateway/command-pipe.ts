import type { Writable } from 'node:stream';
import {
  type CommandOf,
  encodeLine,
  type GatewayCommand,
  MAX_LINE_BYTES,
} from '@duragent/protocol';
import type { GatewayProcessLimits } from './limits.ts';

/** Bytes that an id takes in an `ack` beside itself. */
const ACK_OVERHEAD = 3;
/** So many ids of 200 characters fit in a line. */
const MAX_IDS_IN_ACK = 1000;
/** Acks wait for the next line when so many commands are not in its pipe yet. */
const MAX_UNREAD_ACKS = 8;

interface PipeOptions {
  stdin: Writable;
  limits: GatewayProcessLimits;
  /** Takes acks that are due, and gives them to `write`. @returns whether they were written. */
  send: (acks: CommandOf<'ack'>) => boolean;
  /** It does not read what it is sent; `reason` fits behind "the gateway". */
  onHung: (reason: string) => void;
}

/** The way of commands into a gateway's stdin: few writes, and a bound on what it has not read. */
export class CommandPipe {
  readonly #stdin: Writable;
  readonly #limits: GatewayProcessLimits;
  readonly #send: PipeOptions['send'];
  readonly #onHung: PipeOptions['onHung'];
  /** Commands that are not in its pipe yet. */
  #unread = 0;
  #acks: string[] = [];
  #ackBytes = 0;

  constructor(options: PipeOptions) {
    this.#stdin = options.stdin;
    this.#limits = options.limits;
    this.#send = options.send;
    this.#onHung = options.onHung;
  }

  /** Whether so much is unread that what needs no answer is better dropped. */
  get isBehind(): boolean {
    const { maxUnreadBytes, maxUnreadCommands } = this.#limits;
    return this.#unread > maxUnreadCommands / 4 || this.#stdin.writableLength > maxUnreadBytes / 4;
  }

  /** @returns whether it was written: not into a pipe that is closed, or too full. */
  write(command: GatewayCommand): boolean {
    const stdin = this.#stdin;
    if (!stdin.writable) return false;
    const line = encodeLine(command, { maxBytes: MAX_LINE_BYTES });
    const { maxUnreadBytes, maxUnreadCommands } = this.#limits;
    if (this.#unread >= maxUnreadCommands || stdin.writableLength > maxUnreadBytes) {
      const unread = `${this.#unread} commands and ${stdin.writableLength} bytes wait`;
      this.#onHung(`does not read its stdin: ${unread}`);
      return false;
    }
    this.#unread += 1;
    if (stdin.writableCorked === 0) {
      // What is sent in one breath goes in one write.
      stdin.cork();
      setImmediate(() => stdin.uncork());
    }
    stdin.write(line, () => {
      this.#unread -= 1;
      this.#sendAcks();
    });
    return true;
  }

  /** Acknowledges an event. Those of one tick go in one line, and those of many where it is slow to read. */
  ack(eventId: string): void {
    this.#acks.push(eventId);
    this.#ackBytes += eventId.length + ACK_OVERHEAD;
    if (this.#ackBytes > this.#limits.maxUnreadBytes) {
      this.#onHung('does not read its stdin: too many acks wait');
    }
    if (this.#acks.length === 1) setImmediate(() => this.#sendAcks());
  }

  /** Writes the last command of all, and ends the pipe. */
  end(shutdown: CommandOf<'shutdown'>): void {
    const stdin = this.#stdin;
    if (stdin.writable) stdin.end(encodeLine(shutdown, { maxBytes: MAX_LINE_BYTES }));
  }

  #sendAcks(): void {
    while (this.#acks.length > 0 && this.#unread < MAX_UNREAD_ACKS) {
      const ids = this.#acks.splice(0, MAX_IDS_IN_ACK);
      for (const id of ids) this.#ackBytes -= id.length + ACK_OVERHEAD;
      if (!this.#send({ type: 'ack', event_ids: ids })) return;
    }
  }
}
