import type { FaultRule, FaultScript, FaultState } from '../faults.ts';
import type { LimitsMode, RateLimits } from '../limits.ts';
import type { World } from '../world.ts';

/** What makes things go wrong: time, faults, limits, and what comes twice. */
export function trouble(world: World, faults: FaultScript, limits: RateLimits) {
  return {
    /** Moves the clock ahead: updates, queries, drafts and links grow old, limits recover. */
    advanceClock({ ms }: { ms: number }): { now: number } {
      world.clock.advance(ms);
      return { now: world.clock.now() };
    },

    addFault(rule: FaultRule): { id: number } {
      return { id: faults.add(rule) };
    },

    /** Without an id: all of them. */
    removeFault({ id }: { id?: number } = {}): void {
      faults.remove(id);
    },

    faults(): FaultState[] {
      return faults.rules;
    },

    /** The next `getUpdates` gets the last `back` updates again, whatever its offset says. */
    redeliver({ back }: { back: number }): { count: number } {
      return { count: world.updates.redeliver(back) };
    },

    setLimits({ limits: mode }: { limits: LimitsMode }): void {
      limits.mode = mode;
    },
  };
}
