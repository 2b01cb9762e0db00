import type { Clock } from '../../ports/clock.ts';
import type { ToolServerLimits } from './limits.ts';

type PacerLimits = Pick<
  ToolServerLimits,
  'backoffMs' | 'maxBackoffMs' | 'startBackoffMs' | 'maxStartsPerMinute' | 'healthyMs'
>;

const MINUTE_MS = 60_000;

/**
 * Says when a server may be started: at once after it ended for the first time, then after pauses
 * that double; after a start that failed only after a longer one; and so often a minute at most.
 */
export class StartPacer {
  readonly #clock: Clock;
  readonly #limits: PacerLimits;
  #failures = 0;
  #notBefore = Number.NEGATIVE_INFINITY;
  #starts: number[] = [];
  #fault: string | null = null;

  constructor(clock: Clock, limits: PacerLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** What went wrong last. */
  get lastFault(): string {
    return this.#fault ?? `it was started ${this.#starts.length} times within a minute`;
  }

  /** How long it has to wait yet; 0: it may start. */
  pauseMs(): number {
    const now = this.#clock.monotonic();
    this.#starts = this.#starts.filter((at) => at > now - MINUTE_MS);
    const oldest = this.#starts.at(-this.#limits.maxStartsPerMinute);
    const freeAt = oldest === undefined ? now : oldest + MINUTE_MS;
    return Math.max(0, this.#notBefore - now, freeAt - now);
  }

  starts(): void {
    this.#starts.push(this.#clock.monotonic());
  }

  /** A call was answered: what was before is forgotten. */
  worked(): void {
    this.#failures = 0;
  }

  /** It could not be started, or it ended by itself. */
  failed(what: 'start' | 'end', fault: string): void {
    const { backoffMs, maxBackoffMs, startBackoffMs, healthyMs } = this.#limits;
    const now = this.#clock.monotonic();
    this.#fault = fault;
    if (what === 'end' && now - (this.#starts.at(-1) ?? now) >= healthyMs) this.#failures = 0;
    const doubled = this.#failures === 0 ? 0 : backoffMs * 2 ** (this.#failures - 1);
    const pause = Math.min(maxBackoffMs, doubled);
    this.#notBefore = now + (what === 'start' ? Math.max(startBackoffMs, pause) : pause);
    this.#failures += 1;
  }
}
