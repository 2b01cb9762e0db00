import { Slots } from '../slots.ts';

/** Lets one at a time through for each key, in the order in which they came. */
export class Lanes {
  readonly #lanes = new Map<string, { slots: Slots; users: number }>();

  /** Waits for the lane. @returns a function that frees it. Rejects with the signal's reason. */
  async enter(key: string, signal: AbortSignal): Promise<() => void> {
    const lane = this.#lanes.get(key) ?? { slots: new Slots(1), users: 0 };
    this.#lanes.set(key, lane);
    lane.users += 1;
    const leave = (): void => {
      lane.users -= 1;
      if (lane.users === 0) this.#lanes.delete(key);
    };
    try {
      const release = await lane.slots.acquire(signal);
      return () => {
        release();
        leave();
      };
    } catch (error) {
      leave();
      throw error;
    }
  }
}
