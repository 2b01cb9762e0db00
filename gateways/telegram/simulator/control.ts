import type { CallRecord } from './bot-api.ts';
import { drafts, type ShownDraft } from './control/drafts.ts';
import { people } from './control/people.ts';
import { presses, type PressState } from './control/presses.ts';
import { shownMessage, sight, type ShownMessage } from './control/sight.ts';
import { speech } from './control/speech.ts';
import { trouble } from './control/trouble.ts';
import { caused, witness, type CausedUpdate } from './control/witness.ts';
import type { FaultScript } from './faults.ts';
import type { RateLimits } from './limits.ts';
import type { World } from './world.ts';

/**
 * The other side of the simulated Telegram: speaks and acts as people, shows what they see, tells
 * the truth about what the bot got, and makes things go wrong. The same functions are served
 * below `/control/`. They throw a Refusal for what cannot be done.
 */
export interface TelegramControl
  extends
    ReturnType<typeof people>,
    ReturnType<typeof speech>,
    ReturnType<typeof presses>,
    ReturnType<typeof drafts>,
    ReturnType<typeof sight>,
    ReturnType<typeof witness>,
    ReturnType<typeof trouble> {
  /** The whole truth at this moment. */
  snapshot(): Snapshot;
}

export interface Snapshot {
  now: number;
  updates: CausedUpdate[];
  /** Everything in all chats, in the order in which it came. */
  messages: ShownMessage[];
  presses: PressState[];
  drafts: ShownDraft[];
}

interface Parts {
  world: World;
  faults: FaultScript;
  limits: RateLimits;
  calls: () => readonly CallRecord[];
}

/** The control of one world, and of what makes things go wrong in it. */
export function createControl({ world, faults, limits, calls }: Parts): TelegramControl {
  const ofPresses = presses(world);
  const ofDrafts = drafts(world);
  return {
    ...people(world),
    ...speech(world),
    ...ofPresses,
    ...ofDrafts,
    ...sight(world),
    ...witness(world, calls),
    ...trouble(world, faults, limits),
    snapshot: () => ({
      now: world.clock.now(),
      updates: world.updates.records.map(caused),
      messages: world.messages.map((kept) => shownMessage(world, kept)),
      presses: ofPresses.presses(),
      drafts: ofDrafts.drafts(),
    }),
  };
}
