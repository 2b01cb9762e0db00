import type { OnInterrupt, ToolEffect } from '@duragent/protocol';

/** What becomes of a tool's calls that a stop of the server cuts: as the agent says, but nothing with an effect is repeated. */
export function onInterruptOf(effect: ToolEffect, said: OnInterrupt | undefined): OnInterrupt {
  const isHarmless = effect !== 'effectful';
  if (said === undefined) return isHarmless ? 'retry' : 'tell_model';
  return said === 'retry' && !isHarmless ? 'tell_model' : said;
}
