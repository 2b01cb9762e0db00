import { type Fold, packState } from '../core/session/fold.ts';
import type { Clock } from '../ports/clock.ts';
import type { SessionLog } from '../ports/session-store.ts';
import type { Logger } from './logger.ts';

/** Events between two snapshots … */
const EVERY = 50;
/** … that are so many ms apart; of a session that is written faster they come after so many events. */
const APART_MS = 5_000;
const EVERY_FAST = 500;
/** How long a session has to be open for its first one, in ms: of a shorter life the log is read as fast. */
const FIRST_AFTER_MS = 1_000;

/** Writes the snapshots of one session: a cache, so that one that cannot be written is told, and changes nothing. */
export class Snapshots {
  readonly #log: SessionLog;
  readonly #deps: { clock: Clock; log: Logger };
  #seq: number;
  #at: number;
  #writing: Promise<void> = Promise.resolve();

  /** @param seq of the snapshot on disk; 0: none. */
  constructor(log: SessionLog, seq: number, deps: { clock: Clock; log: Logger }) {
    this.#log = log;
    this.#seq = seq;
    this.#deps = deps;
    this.#at = deps.clock.monotonic() - APART_MS + FIRST_AFTER_MS;
  }

  /** Takes what has become durable. `latest` is asked when one is written. */
  durable(state: Fold['state'], latest: () => Fold): void {
    if (!state.ended && !this.#isDue(state.seq)) return;
    this.#seq = state.seq;
    this.#at = this.#deps.clock.monotonic();
    this.#writing = this.#writing.then(() => this.#write(latest()));
  }

  /** Resolves when none is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Writes the last one, where the one on disk is older. */
  async finish(fold: Fold): Promise<void> {
    if (fold.state.seq > this.#seq) await this.#write(fold);
  }

  #isDue(seq: number): boolean {
    const behind = seq - this.#seq;
    if (behind < EVERY) return false;
    return behind >= EVERY_FAST || this.#deps.clock.monotonic() - this.#at >= APART_MS;
  }

  async #write({ state, window }: Fold): Promise<void> {
    this.#seq = state.seq;
    try {
      await this.#log.writeSnapshot(packState(state), state.seq, window.start);
    } catch (error) {
      const { session } = this.#log;
      this.#deps.log.warn({ session, err: error }, 'snapshot not written');
    }
  }
}
