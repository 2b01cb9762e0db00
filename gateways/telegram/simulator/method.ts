import type { RateLimits } from './limits.ts';
import type { Parameters } from './parameters.ts';
import type { World } from './world.ts';

/** What a method works with. */
export interface Call {
  world: World;
  parameters: Parameters;
  limits: RateLimits;
  /** Aborted when the client is gone. */
  signal: AbortSignal;
  /** Has something done once the answer went out whole. */
  onSent: (done: () => void) => void;
}

/** One method of the Bot API: gives the `result`, or throws a Refusal. */
export type Method = (call: Call) => unknown;
