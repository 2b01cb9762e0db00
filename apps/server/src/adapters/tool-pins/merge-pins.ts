import { DuragentError } from '@duragent/protocol';
import { MAX_PINS } from '../../ports/tool-pins.ts';

/** What is remembered with some more. @throws DuragentError `queue_full` */
export function mergePins(
  known: ReadonlyMap<string, string>,
  more: ReadonlyMap<string, string>,
  agent: string,
): Map<string, string> {
  const merged = new Map([...known, ...more]);
  if (merged.size > MAX_PINS) {
    throw new DuragentError(
      'queue_full',
      `${MAX_PINS} tools of the agent ${agent} are remembered; remove servers that it does not use.`,
    );
  }
  return merged;
}
