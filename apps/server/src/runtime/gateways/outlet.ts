import {
  type ChatAddress,
  type CommandError,
  type GatewayLimits,
  type InlineKeyboard,
  isTransient,
} from '@duragent/protocol';
import { chatKey } from '../../core/session/chat-key.ts';
import { UNCERTAIN_CODE } from '../../core/session/evolve-deliveries.ts';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import type { TextLimits } from '../../core/split.ts';
import type { ArtifactStore } from '../../ports/artifact-store.ts';
import { type Clock, sleep } from '../../ports/clock.ts';
import type { RequestOutcome } from '../../ports/gateway.ts';
import type { PartToSend } from '../chats.ts';
import type { GatewayLink } from './gateway-link.ts';
import { Lanes } from './lanes.ts';
import type { ChatPlace } from './bindings.ts';
import type { Previews } from './previews.ts';
import type { WakeList } from './wake-list.ts';

/** How long a gateway may take for one posting, in ms. */
const REQUEST_MS = 60_000;
/** How long an answer to a slash command waits for its gateway, in ms. */
const SAY_MS = 60_000;
/** How soon one that was refused for the moment is sent again, in ms. */
const SAY_AGAIN_MS = 1_000;
/** Longest single wait for a gateway, should the clock jump, in ms. */
const LOOK_MS = 60 * 60 * 1000;

/** How far the clock of a platform may be off, in ms. */
const CLOCK_SKEW_MS = 10 * 60 * 1000;
/** Tries of a part that may all have been posted, the last ones marked; then it is given up. */
const MAX_MARKED = 4;

/** Begins a part that may be there already. */
export const REPEATED_MARK = '[sent again]\n\n';
/** Stands where a part may be missing, with `on_uncertain: notify`. */
const UNCERTAIN_NOTE =
  '[A message could not be confirmed: it may be missing here. duragent outbox retry sends it again.]';

/** Posts into chats: one at a time and in order for each, when its gateway is ready. */
export class Outlet {
  readonly #clock: Clock;
  readonly #artifacts: ArtifactStore;
  readonly #previews: Previews;
  readonly #link: (gateway: string) => GatewayLink | null;
  readonly #listed: WakeList;
  readonly #lanes = new Lanes();
  /** Until when a chat's platform asked to wait, on the monotonic clock. */
  readonly #blocked = new Map<string, number>();
  readonly #never = new AbortController().signal;
  #requests = 0;

  constructor(deps: {
    clock: Clock;
    artifacts: ArtifactStore;
    previews: Previews;
    link: (gateway: string) => GatewayLink | null;
    /** Wakes whoever waits when there are other gateways. */
    listed: WakeList;
  }) {
    this.#listed = deps.listed;
    this.#clock = deps.clock;
    this.#artifacts = deps.artifacts;
    this.#previews = deps.previews;
    this.#link = deps.link;
  }

  /** As `Chats.send`. */
  async send(
    part: PartToSend,
    { begin, signal }: { begin: () => Promise<void>; signal: AbortSignal },
  ): Promise<DeliveryEnd> {
    const leave = await this.#lanes.enter(chatKey(part.chat), signal);
    try {
      const link = await this.#whenReady(part, signal);
      if (!link) return { outcome: 'dead', error: EXPIRED };
      const end = part.isEdit
        ? await this.#edit(part, link, begin, signal)
        : part.uncertainTries > 0
          ? await this.#settle(part, link, begin, signal)
          : await this.#post(part, link, {}, begin, signal);
      if (end.outcome === 'delivered' || end.outcome === 'dead') this.#previews.done(part.out);
      return end;
    } finally {
      leave();
    }
  }

  /**
   * Answers in a chat: not recorded, so it is posted once or not at all. What was refused for the
   * moment is tried again, for as long as anybody waits. @returns the platform's message id.
   */
  async say(
    place: ChatPlace,
    text: string,
    options: { keyboard?: InlineKeyboard; replyTo?: string; signal: AbortSignal },
  ): Promise<string | null> {
    const until = this.#clock.now() + SAY_MS;
    const leave = await this.#lanes.enter(chatKey(place), options.signal);
    try {
      for (;;) {
        const link = await this.#ready(place, until, options.signal);
        if (!link?.running) return null;
        const outcome = await this.#sayOnce(place, text, link, options);
        if (outcome.type === 'answered' && outcome.answer.type === 'command_ok') {
          return outcome.answer.message_id ?? null;
        }
        const wait = repeatAfter(outcome);
        if (wait === null || this.#clock.now() + wait >= until) return null;
        await sleep(this.#clock, wait, options.signal);
      }
    } finally {
      leave();
    }
  }

  /**
   * Says something if the chat can be reached at once; `text` is read when its turn in the chat has
   * come. Once or not at all. @returns its message, null where nobody knows; `unsent`: it was not posted.
   */
  async sayNow(
    chat: ChatAddress,
    text: () => string,
    signal: AbortSignal,
  ): Promise<{ message: string | null } | 'unsent'> {
    const leave = await this.#lanes.enter(chatKey(chat), signal);
    try {
      const link = this.#link(chat.gateway);
      const isReady = link?.isReady === true && this.#waitOf(chat) <= 0;
      if (signal.aborted || !isReady) return 'unsent';
      // What was begun is let to its end: what follows in the chat waits for it.
      const outcome = await this.#sayOnce(chat, text(), link, { signal: this.#never });
      if (outcome.type === 'unsent') return 'unsent';
      const answer = outcome.type === 'answered' ? outcome.answer : null;
      return { message: answer?.type === 'command_ok' ? (answer.message_id ?? null) : null };
    } finally {
      leave();
    }
  }

  /** Gives a message a new text if its chat can be reached at once. @returns how long the platform wants to wait, in ms. */
  async editNow(
    chat: ChatAddress,
    message: string,
    text: string,
    signal: AbortSignal,
  ): Promise<{ waitMs: number }> {
    const link = this.#link(chat.gateway);
    const isPossible = link?.isReady === true && link.can('edit');
    if (!isPossible || !link.running || signal.aborted) return { waitMs: 0 };
    const { chat_id, thread_id } = chat;
    const outcome = await link.running.request(
      {
        type: 'edit_message',
        request_id: this.#requestId(),
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        message_id: message,
        content: fit(text, link.limits),
        format: 'text',
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    const refusal = outcome.type === 'answered' ? outcome.answer : null;
    return { waitMs: refusal?.type === 'command_error' ? (refusal.retry_after_ms ?? 0) : 0 };
  }

  async #sayOnce(
    place: ChatAddress & Partial<Pick<ChatPlace, 'chat_type'>>,
    text: string,
    link: GatewayLink,
    options: { keyboard?: InlineKeyboard; replyTo?: string; signal: AbortSignal },
  ): Promise<RequestOutcome> {
    const { running } = link;
    if (!running) return { type: 'unsent', reason: NOT_READY.message };
    const keyboard = link.can('inline_keyboard') ? options.keyboard : undefined;
    const isReply = options.replyTo !== undefined && place.chat_type !== 'dm';
    return running.request(
      {
        type: 'send_message',
        request_id: this.#requestId(),
        chat_id: place.chat_id,
        ...(place.thread_id === undefined ? {} : { thread_id: place.thread_id }),
        content: fit(text, link.limits),
        format: 'text',
        ...(isReply ? { reply_to: options.replyTo } : {}),
        ...(keyboard ? { inline_keyboard: keyboard } : {}),
        part: 1,
        parts: 1,
      },
      { timeoutMs: REQUEST_MS, signal: options.signal },
    );
  }

  /** Answers a press, and puts what came of it in place of the message that was pressed. */
  async answerPress(
    press: { place: ChatPlace; callbackQueryId: string; messageId: string },
    answer: { toast: string; text?: string },
    signal: AbortSignal,
  ): Promise<void> {
    const link = this.#link(press.place.gateway);
    const running = link?.running;
    if (!link || !running) return;
    const options = { timeoutMs: REQUEST_MS, signal };
    const { chat_id, thread_id } = press.place;
    await running.request(
      {
        type: 'answer_callback_query',
        request_id: this.#requestId(),
        callback_query_id: press.callbackQueryId,
        text: answer.toast.slice(0, 190).toWellFormed(),
      },
      options,
    );
    if (answer.text === undefined || !link.can('edit')) return;
    await running.request(
      {
        type: 'edit_message',
        request_id: this.#requestId(),
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        message_id: press.messageId,
        content: fit(answer.text, link.limits),
        format: 'text',
      },
      options,
    );
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
    const { chat_id, thread_id } = part.chat;
    const outcome = await link.running?.request(
      {
        type: 'edit_message',
        request_id: this.#requestId(),
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        message_id: preview,
        content: fit(content.text, link.limits),
        format: content.format,
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    if (!outcome) return { outcome: 'failed', error: NOT_READY };
    const end = this.#ended(outcome, part);
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
    const { chat_id, thread_id } = part.chat;
    const outcome = await link.running.request(
      {
        type: 'find_message',
        request_id: this.#requestId(),
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        nonce: nonceOf(part),
        content: part.content.text,
        author: 'self',
        // The platform's clock may be behind ours.
        after: new Date(part.recordedAt - CLOCK_SKEW_MS).toISOString(),
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    if (outcome.type !== 'answered') {
      return { outcome: 'failed', error: { code: 'not_connected', message: outcome.reason } };
    }
    switch (outcome.answer.type) {
      case 'message_found':
        return { outcome: 'delivered', message: outcome.answer.message_id };
      case 'message_not_found':
        return null;
      case 'command_error':
        return this.#refused(outcome.answer, part);
      default:
        return { outcome: 'failed', error: BAD_ANSWER };
    }
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
    if (!running) return { outcome: 'failed', error: NOT_READY };
    const request_id = this.#requestId();
    const { chat_id, thread_id } = part.chat;
    const to = {
      request_id,
      chat_id,
      ...(thread_id === undefined ? {} : { thread_id }),
      ...(part.replyTo !== undefined && link.can('reply') ? { reply_to: part.replyTo } : {}),
      nonce: nonceOf(part),
    };
    const options = { timeoutMs: REQUEST_MS, signal };
    if (part.content.type === 'file' && how.instead === undefined) {
      const file = await this.#artifacts.get(part.content.artifact);
      if (!file) return { outcome: 'dead', error: FILE_GONE };
      const { max } = { max: link.limits.media_max_bytes };
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
      return this.#ended(outcome, part);
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
    return this.#ended(outcome, part);
  }

  #ended(outcome: RequestOutcome, part: PartToSend): DeliveryEnd {
    switch (outcome.type) {
      case 'unsent':
        return {
          outcome: 'failed',
          error: { code: 'not_connected', message: outcome.reason },
        };
      case 'lost':
        return { outcome: 'uncertain', error: { code: 'lost', message: outcome.reason } };
      case 'answered':
        switch (outcome.answer.type) {
          case 'command_ok': {
            const { message_id } = outcome.answer;
            return {
              outcome: 'delivered',
              ...(message_id === undefined ? {} : { message: message_id }),
            };
          }
          case 'command_error':
            return this.#refused(outcome.answer, part);
          default:
            return { outcome: 'uncertain', error: BAD_ANSWER };
        }
    }
  }

  #refused(refusal: CommandError, part: PartToSend): DeliveryEnd {
    const error = { code: refusal.code, message: refusal.message.slice(0, 1000).toWellFormed() };
    const asked = refusal.retry_after_ms;
    const wait =
      asked === undefined ? undefined : Math.min(asked, part.expiresAt - this.#clock.now());
    const retry = wait === undefined ? {} : { retryAfterMs: wait };
    if (refusal.uncertain) return { outcome: 'uncertain', error, ...retry };
    if (!isTransient(refusal.code)) return { outcome: 'dead', error };
    if (wait !== undefined) {
      this.#blocked.set(chatKey(part.chat), this.#clock.monotonic() + wait);
    }
    return { outcome: 'failed', error, ...retry };
  }

  async #whenReady(part: PartToSend, signal: AbortSignal): Promise<GatewayLink | null> {
    const key = chatKey(part.chat);
    for (;;) {
      const link = await this.#ready(part.chat, part.expiresAt, signal);
      if (!link) return null;
      const wait = this.#waitOf(part.chat);
      if (wait <= 0) {
        this.#blocked.delete(key);
        return link;
      }
      await sleep(this.#clock, wait, signal);
    }
  }

  /** How long a chat's platform asked to wait from now on, in ms. */
  #waitOf(chat: ChatAddress): number {
    return (this.#blocked.get(chatKey(chat)) ?? 0) - this.#clock.monotonic();
  }

  /** Waits until a chat's gateway is ready. @returns null when `until` (wall clock, ms) came first. */
  async #ready(
    { gateway }: { gateway: string },
    until: number,
    signal: AbortSignal,
  ): Promise<GatewayLink | null> {
    for (;;) {
      signal.throwIfAborted();
      const left = until - this.#clock.now();
      if (left <= 0) return null;
      const link = this.#link(gateway);
      if (link?.isReady) return link;
      const timer = new AbortController();
      const stop = AbortSignal.any([signal, timer.signal]);
      const time = sleep(this.#clock, Math.min(left, LOOK_MS), stop).catch(() => undefined);
      const changes = [this.#listed.wait(stop), time];
      if (link) changes.push(link.changes.wait(stop));
      await Promise.race(changes);
      timer.abort();
    }
  }

  #requestId(): string {
    this.#requests += 1;
    return `r${this.#requests}`;
  }
}

/** Whether what should be finished is not there: nothing was posted. */
function isGone(end: DeliveryEnd): boolean {
  return end.outcome === 'dead' && end.error.code === 'message_not_found';
}

/** How long to wait before a request is made again of which nothing happened, in ms; null: never. */
function repeatAfter(outcome: RequestOutcome): number | null {
  if (outcome.type === 'unsent') return SAY_AGAIN_MS;
  if (outcome.type === 'lost' || outcome.answer.type !== 'command_error') return null;
  const { uncertain, code, retry_after_ms: asked = 0 } = outcome.answer;
  return uncertain || !isTransient(code) ? null : Math.max(asked, SAY_AGAIN_MS);
}

/** How long the parts for a gateway may be: a mark has to fit before them. */
export function limitsOfParts(limits: GatewayLimits): TextLimits {
  return { maxLength: limits.max_length - REPEATED_MARK.length, unit: limits.length_unit };
}

/** Names a posting on its platform; the same when it is tried again. */
function nonceOf({ out, part }: PartToSend): string {
  return `${out.slice(-20)}${part.toString(36)}`;
}

function fit(text: string, limits: GatewayLimits): string {
  // Four bytes are the most that a character takes in any unit.
  const most = Math.floor(limits.max_length / (limits.length_unit === 'bytes' ? 4 : 1));
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
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
const NOT_READY = { code: 'not_connected', message: 'The gateway is not running.' };
const BAD_ANSWER = {
  code: 'platform_error',
  message: 'The gateway gave an answer to something else.',
};
const FILE_GONE = { code: 'file_gone', message: 'The file is no longer among the artifacts.' };
const NO_FILES = { code: 'invalid_request', message: 'This chat takes no file of this size.' };
