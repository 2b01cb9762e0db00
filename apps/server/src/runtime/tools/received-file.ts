import { isKnownEvent } from '@duragent/protocol';
import type { SessionRegistry } from '../session-registry.ts';

/** Records that are read at once. */
const PAGE = 1000;

/** Whether a person sent a file in a session. */
export async function receivedFile(
  sessions: Pick<SessionRegistry, 'open'>,
  session: string,
  artifact: string,
): Promise<boolean> {
  const actor = await sessions.open(session);
  for (let before = actor.lastSeq; before > 0; before -= PAGE) {
    const after = Math.max(0, before - PAGE);
    for (const { event } of await actor.read(after, before - after)) {
      if (!isKnownEvent(event) || event.type !== 'user_message') continue;
      if (event.content.some((part) => part.type === 'file' && part.artifact === artifact)) {
        return true;
      }
    }
  }
  return false;
}
