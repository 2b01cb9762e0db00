import type { CommandOf, RequestOutcome } from '@duragent/protocol';
import type { InboundWindow } from './inbound-window.ts';
import type { GatewayProcessLimits } from './limits.ts';
import type { Timers } from './timers.ts';

interface HeartbeatOptions {
  timers: Timers;
  limits: GatewayProcessLimits;
  /** Asks it, and waits no longer than `pingAnswerMs`. */
  ask: (ping: CommandOf<'ping'>) => Promise<RequestOutcome>;
  /** Whether its answers still matter. */
  isOpen: () => boolean;
  /** While it is full, nothing of it is read. */
  window: InboundWindow;
  /** It is of no use any more; `reason` fits behind "the gateway". */
  onLost: (reason: string) => void;
}

/** Asks a gateway now and then, so that one that hangs or does not reach its platform is found out. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #pings = 0;
  #wasPaused = false;
  #cancelDisconnected: (() => void) | null = null;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Begins to ask; the first time after `pingEveryMs`. */
  start(): void {
    const { timers, limits } = this.#options;
    timers.after(limits.pingEveryMs, () => void this.#ping(0));
  }

  /** Reading pauses: an answer that is late now is not its fault. */
  readingPaused(): void {
    this.#wasPaused = true;
  }

  async #ping(unanswered: number): Promise<void> {
    const { ask, isOpen, window, onLost } = this.#options;
    this.#pings += 1;
    this.#wasPaused = window.isFull;
    const outcome = await ask({ type: 'ping', request_id: `ping-${this.#pings}` });
    if (!isOpen()) return;
    if (outcome.type === 'answered') {
      if (outcome.answer.type === 'pong') this.#onConnected(outcome.answer.connected);
      this.start();
    } else if (this.#wasPaused) {
      // Its answer may stand behind what could not be read yet: the delay is the server's.
      this.start();
    } else if (unanswered === 0) {
      await this.#ping(1);
    } else {
      onLost('did not answer two pings');
    }
  }

  #onConnected(connected: boolean): void {
    if (connected) {
      this.#cancelDisconnected?.();
      this.#cancelDisconnected = null;
      return;
    }
    const { limits, onLost, timers } = this.#options;
    const { disconnectedMs } = limits;
    this.#cancelDisconnected ??= timers.after(disconnectedMs, () =>
      onLost(`did not reach its platform for ${disconnectedMs / 1000} s`),
    );
  }
}
