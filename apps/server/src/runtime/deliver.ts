import type { StoredEvent } from '@duragent/protocol';
import { lastText } from '../core/session/deliveries.ts';
import type { Effect } from '../core/session/next.ts';
import type { DeliveryEnd, SessionInput } from '../core/session/session-input.ts';
import type { SessionState } from '../core/session/state.ts';
import { isSpoken, spokenText } from '../core/session/spoken-text.ts';
import { type Clock, sleepUntil } from '../ports/clock.ts';
import type { Chats, PartToSend } from './chats.ts';
import type { EffectScope } from './effects.ts';

type Deliver = Extract<Effect, { type: 'deliver' }>;

/** The longest time that a next try is waited for, should the wall clock have jumped. */
const MAX_WAIT_MS = 60 * 60 * 1000;

/** Posts one part of a delivery and gives the input that it ends in. */
export async function deliver(
  effect: Deliver,
  scope: EffectScope,
  { chats, clock, signal }: { chats: Chats; clock: Clock; signal: AbortSignal },
): Promise<SessionInput> {
  const { out, part, attempt, seq, retry_at } = effect.delivery;
  const end = (what: DeliveryEnd): SessionInput => ({
    type: 'deliver_end',
    out,
    part,
    attempt,
    ...what,
  });
  const event = await scope.event(seq);
  const toSend = event && partOf(effect, event, scope.current().state);
  if (!toSend) {
    const message = `Record ${seq} does not hold this delivery.`;
    return end({ outcome: 'dead', error: { code: 'internal', message } });
  }
  if (retry_at !== undefined) {
    const now = clock.now();
    const at = Math.min(Date.parse(retry_at), now + MAX_WAIT_MS);
    if (at > now) await sleepUntil(clock, at, signal);
  }
  const begin = async (): Promise<void> => {
    scope.busy();
    await scope.submit({ type: 'deliver_start', out, part, attempt });
  };
  return end(await chats.send(toSend, { begin, signal }));
}

function partOf(
  { delivery: open, chat }: Deliver,
  event: StoredEvent,
  { session, agent }: SessionState,
): PartToSend | null {
  if (!isSpoken(event)) return null;
  const delivery = event.deliveries?.find((one) => one.out === open.out);
  const part = delivery?.parts[open.part - 1];
  if (!delivery || !part) return null;
  const isEdit = open.edits !== undefined;
  // Its card ended without a message: then this is no longer owed.
  if (isEdit && open.preview === undefined) return null;
  return {
    session,
    agent,
    chat,
    out: open.out,
    part: open.part,
    parts: open.parts,
    attempt: open.attempt,
    content:
      'file' in part
        ? { type: 'file', artifact: part.file }
        : {
            type: 'text',
            text: part.prefix + spokenText(event).slice(part.from, part.to) + part.suffix,
            format: delivery.format,
          },
    ...(delivery.keyboard && open.part === lastText(delivery.parts)
      ? { keyboard: delivery.keyboard }
      : {}),
    ...(delivery.reply_to !== undefined && open.part === 1 ? { replyTo: delivery.reply_to } : {}),
    ...(open.preview !== undefined && open.part === 1 ? { preview: open.preview } : {}),
    ...(isEdit ? { isEdit } : {}),
    uncertainTries: open.uncertain ?? 0,
    onUncertain: open.expires_at === undefined ? delivery.on_uncertain : 'resend_marked',
    expiresAt: Date.parse(open.expires_at ?? delivery.expires_at),
    recordedAt: Date.parse(event.at),
  };
}
