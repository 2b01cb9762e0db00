import { UNCERTAIN_CODE } from '../../core/session/evolve-deliveries.ts';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import type { ArtifactStore } from '../../ports/artifact-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { PartToSend } from '../chats.ts';
import { type ChatReach, REQUEST_MS } from './chat-reach.ts';
import { endOfFinding, endOfPosting, isGone, NOT_READY } from './delivery-end.ts';
import { fit, REPEATED_MARK } from './fit.ts';
import type { GatewayLink } from './gateway-link.ts';
import type { Previews } from './previews.ts';

/** How far the clock of a platform may be off, in ms. */
const CLOCK_SKEW_MS = 10 * 60 * 1000;
/** Tries of a part that may all have been posted, the last ones marked; then it is given up. */
const MAX_MARKED = 4;

/** Stands where a part may be missing, with `on_uncertain: notify`. */
const UNCERTAIN_NOTE =
  '[A message could not be confirmed: it may be missing here. duragent outbox retry sends it again.]';

/** Posts what sessions owe to chats: what may have been posted is settled before it is posted again. */
export class Outlet {
  readonly #clock: Clock;
  readonly #reach: ChatReach;
  readonly #artifacts: ArtifactStore;
  readonly #previews: Previews;

  constructor(deps: {
    clock: Clock;
    reach: ChatReach;
    artifacts: ArtifactStore;
    previews: Previews;
  }) {
    this.#clock = deps.clock;
    this.#reach = deps.reach;
    this.#artifacts = deps.artifacts;
    this.#previews = deps.previews;
  }

  /** As `Chats.send`. */
  async send(
    part: PartToSend,
    { begin, signal }: { begin: () => Promise<void>; signal: AbortSignal },
  ): Promise<DeliveryEnd> {
    const leave = await this.#reach.enter(part.chat, signal);
    try {
      const link = await this.#reach.open(part.chat, part.expiresAt, signal);
      if (!link) return { outcome: 'dead', error: EXPIRED };
      const end = part.isEdit
        ? await this.#edit(part, link, begin, signal)
        : part.uncertainTries > 0
          ? await this.#settle(part, link, begin, signal)
          : await this.#post(part, link, {}, begin, signal);
      if (end.outcome === 'delivered' || end.outcome === 'dead') this.#previews.done(part.out);
      if (end.outcome === 'failed' && end.retryAfterMs !== undefined) {
        this.#reach.block(part.chat, end.retryAfterMs);
      }
      return end;
    } finally {
      leave();
    }
  }

  /** Gives a message its new text; once or again is the same. */
  async #edit(
    part: PartToSend,
    link: GatewayLink,
    begin: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<DeliveryEnd> {
    const { content, preview } = part;
    if (!link.can('edit') || content.type !== 'text' || preview === undefined) {
      return { outcome: 'delivered' };
    }
    await begin();
    const outcome = await link.running?.request(
      {
        type: 'edit_message',
        ...this.#reach.about(part.chat),
        message_id: preview,
        content: fit(content.text, link.limits),
        format: content.format,
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    if (!outcome) return NOT_READY;
    const end = endOfPosting(outcome, this.#left(part));
    return end.outcome === 'delivered' ? { outcome: 'delivered' } : end;
  }

  /** What is done with a part that may have been posted: told by what its platform can. */
  async #settle(
    part: PartToSend,
    link: GatewayLink,
    begin: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<DeliveryEnd> {
    // Finishing a message that is known twice is finishing it once.
    if (part.preview !== undefined && link.can('edit')) {
      const end = await this.#post(part, link, { isEditOnly: true }, begin, signal);
      if (!isGone(end)) return end;
      // Somebody removed it, and an earlier try may have posted the part anew.
      const { preview: _, ...anew } = part;
      return this.#settle(anew, link, async () => undefined, signal);
    }
    if (link.can('find') && part.content.type === 'text') {
      const found = await this.#find(part, link, signal);
      if (found) return found;
      return this.#post(part, link, {}, begin, signal);
    }
    if (link.can('nonce')) return this.#post(part, link, {}, begin, signal);
    if (part.uncertainTries > MAX_MARKED) return { outcome: 'dead', error: REPEATED };
    switch (part.onUncertain) {
      case 'resend_marked':
        return this.#post(part, link, { mark: REPEATED_MARK }, begin, signal);
      case 'notify': {
        const end = await this.#post(part, link, { instead: UNCERTAIN_NOTE }, begin, signal);
        return end.outcome === 'delivered' ? { outcome: 'dead', error: UNCERTAIN } : end;
      }
      case 'never':
        return { outcome: 'dead', error: UNCERTAIN };
    }
  }

  /** Looks a part up. @returns null where it is certainly not there. */
  async #find(
    part: PartToSend,
    link: GatewayLink,
    signal: AbortSignal,
  ): Promise<DeliveryEnd | null> {
    if (part.content.type !== 'text' || !link.running) return null;
    const outcome = await link.running.request(
      {
        type: 'find_message',
        ...this.#reach.about(part.chat),
        nonce: nonceOf(part),
        content: part.content.text,
        author: 'self',
        // The platform's clock may be behind ours.
        after: new Date(part.recordedAt - CLOCK_SKEW_MS).toISOString(),
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    return endOfFinding(outcome, this.#left(part));
  }

  async #post(
    part: PartToSend,
    link: GatewayLink,
    { isEditOnly = false, ...change }: { mark?: string; instead?: string; isEditOnly?: boolean },
    begin: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<DeliveryEnd> {
    // No platform takes it, and nobody would see it.
    if (part.content.type === 'text' && part.content.text.trim() === '') {
      return { outcome: 'delivered' };
    }
    await begin();
    const preview = part.part === 1 ? this.#previews.finish(part.out) : null;
    const replaces =
      part.preview !== undefined && link.can('edit')
        ? // By both names: the gateway ends what it still shows of it.
          { message_id: part.preview, preview_id: part.out }
        : preview && link.can('preview')
          ? { preview_id: part.out }
          : null;
    const end = await this.#request(part, link, { ...change, replaces }, signal);
    if (!isGone(end) || !replaces || isEditOnly) return end;
    // Somebody removed the preview: nothing was posted.
    return this.#request(part, link, { ...change, replaces: null }, signal);
  }

  async #request(
    part: PartToSend,
    link: GatewayLink,
    how: {
      mark?: string;
      instead?: string;
      replaces: { message_id?: string; preview_id: string } | null;
    },
    signal: AbortSignal,
  ): Promise<DeliveryEnd> {
    const { running } = link;
    if (!running) return NOT_READY;
    const to = {
      ...this.#reach.about(part.chat),
      ...(part.replyTo !== undefined && link.can('reply') ? { reply_to: part.replyTo } : {}),
      nonce: nonceOf(part),
    };
    const options = { timeoutMs: REQUEST_MS, signal };
    if (part.content.type === 'file' && how.instead === undefined) {
      const file = await this.#artifacts.get(part.content.artifact);
      if (!file) return { outcome: 'dead', error: FILE_GONE };
      const max = link.limits.media_max_bytes;
      if (!link.can('media') || (max > 0 && file.ref.size > max)) {
        return { outcome: 'dead', error: NO_FILES };
      }
      const { name, mime } = file.ref;
      const outcome = await running.request(
        {
          type: 'send_media',
          ...to,
          media: { path: file.path, name, mime },
          ...(how.mark === undefined ? {} : { caption: how.mark.trim() }),
        },
        options,
      );
      return endOfPosting(outcome, this.#left(part));
    }
    const isText = part.content.type === 'text';
    const text = part.content.type === 'text' ? part.content.text : '';
    const outcome = await running.request(
      {
        type: 'send_message',
        ...to,
        content: how.instead ?? (how.mark ?? '') + text,
        format:
          isText && how.instead === undefined && part.content.type === 'text'
            ? part.content.format
            : 'text',
        ...(how.replaces ? { replaces: how.replaces } : {}),
        ...(part.keyboard && how.instead === undefined && link.can('inline_keyboard')
          ? { inline_keyboard: part.keyboard }
          : {}),
        part: part.part,
        parts: part.parts,
      },
      options,
    );
    return endOfPosting(outcome, this.#left(part));
  }

  /** How long a part may still be sent, in ms. */
  #left(part: PartToSend): number {
    return part.expiresAt - this.#clock.now();
  }
}

/** Names a posting on its platform; the same when it is tried again. */
function nonceOf({ out, part }: PartToSend): string {
  return `${out.slice(-20)}${part.toString(36)}`;
}

const EXPIRED = {
  code: 'expired',
  message: 'It could not be sent within its time (delivery.ttl).',
};
const UNCERTAIN = {
  code: UNCERTAIN_CODE,
  message: 'It may have been posted, and delivery.on_uncertain says not to repeat it.',
};
const REPEATED = {
  code: UNCERTAIN_CODE,
  message:
    'It may have been posted several times already; look into the chat, then retry or drop it.',
};
const FILE_GONE = { code: 'file_gone', message: 'The file is no longer among the artifacts.' };
const NO_FILES = { code: 'invalid_request', message: 'This chat takes no file of this size.' };
