import { localDay } from './local-day.ts';

/** Every zone's days begin at a multiple of this. */
const STEP_MS = 15 * 60_000;
/** How far a zone's midnight may be before and behind that of UTC. */
const EAST_MS = 15 * 60 * 60_000;
const WEST_MS = 13 * 60 * 60_000;
const MAX_REMEMBERED = 512;

/** The days of one time zone; asking again for moments near each other costs nothing. */
export class LocalDays {
  readonly #timezone: string | null;
  readonly #known = new Map<number, string>();

  /** @param timezone IANA; null: the system's. */
  constructor(timezone: string | null) {
    this.#timezone = timezone;
  }

  /** The day of an instant (ms since 1970): `2026-11-20`. */
  dayOf(at: number): string {
    return this.#dayOfStep(Math.floor(at / STEP_MS));
  }

  /** The first instant of a day. */
  startOf(day: string): number {
    const midnight = Date.parse(`${day}T00:00:00Z`);
    let before = Math.floor((midnight - EAST_MS) / STEP_MS);
    let within = Math.ceil((midnight + WEST_MS) / STEP_MS);
    while (within - before > 1) {
      const middle = Math.floor((before + within) / 2);
      if (this.#dayOfStep(middle) < day) before = middle;
      else within = middle;
    }
    return within * STEP_MS;
  }

  /** The zone's name. */
  get zone(): string {
    return this.#timezone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  }

  #dayOfStep(step: number): string {
    const known = this.#known.get(step);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    const { day } = localDay(step * STEP_MS, this.#timezone);
    this.#known.set(step, day);
    return day;
  }
}
