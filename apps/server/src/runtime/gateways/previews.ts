import type { ChatAddress } from '@duragent/protocol';
import { chatKey } from '../../core/session/chat-key.ts';
import { MAX_DELIVERIES } from '../../core/session/state.ts';
import { partialPreviewOf, previewOf } from '../../core/split.ts';
import type { Clock } from '../../ports/clock.ts';
import { limitsOfParts } from './fit.ts';
import type { GatewayLink } from './gateway-link.ts';

/** Between two previews of one reply to its gateway, which paces them further, in ms. */
const EVERY_MS = 250;
/** Replies that are being written at once and have a preview. */
const MAX_OPEN = 10_000;
const PRUNE_AT = 1_000;
/** A reply that has not grown for so long, and was never finished, is forgotten, in ms. */
const FORGET_MS = 60 * 60 * 1000;

interface Preview {
  session: string;
  gateway: string;
  /** The replies of its session to its chat. */
  siblings: string;
  text: () => string;
  /** When it grew last, on the monotonic clock. */
  at: number;
  /** UTF-16 units of what was shown last. */
  shown: number;
  isSent: boolean;
  /** That it is on the platform is on record. */
  isPosted: boolean;
  /** Which connection of its gateway knows the message: another one would post it anew. */
  life: number;
  isScheduled: boolean;
  cancel: () => void;
}

/** Shows replies in chats while they are written. Best effort: what is recorded does not depend on it. */
export class Previews {
  readonly #clock: Clock;
  readonly #link: (gateway: string) => GatewayLink | null;
  readonly #open = new Map<string, Preview>();
  /** For each session and chat the replies that are open, oldest first. */
  readonly #siblings = new Map<string, Set<string>>();

  constructor(clock: Clock, link: (gateway: string) => GatewayLink | null) {
    this.#clock = clock;
    this.#link = link;
  }

  /**
   * The text of a reply has grown; it is read when there is time to show it. `isPosted`: a preview
   * of it is on the platform already.
   */
  show(
    session: string,
    chat: ChatAddress,
    out: string,
    { text, isPosted, replyTo }: { text: () => string; isPosted: boolean; replyTo?: string },
  ): void {
    const link = this.#link(chat.gateway);
    if (!link?.isReady || !link.can('preview')) return;
    let preview = this.#open.get(out);
    if (preview ? preview.isSent && preview.life !== link.life : isPosted) return;
    if (!preview) {
      if (this.#open.size >= PRUNE_AT) this.#prune();
      if (this.#open.size >= MAX_OPEN) return;
      preview = this.#add(session, chat, out, text);
    }
    preview.text = text;
    preview.isPosted = isPosted;
    preview.at = this.#clock.monotonic();
    if (preview.isScheduled) return;
    preview.isScheduled = true;
    const due = preview;
    // Also before the first: an answer that is there at once needs no preview.
    due.cancel = this.#clock.after(EVERY_MS, () => {
      due.isScheduled = false;
      due.cancel = nothing;
      this.#send(due, chat, out, replyTo);
    });
  }

  /** Begins one. Of older ones than a session may owe to a chat, the deliveries were given up. */
  #add(session: string, chat: ChatAddress, out: string, text: () => string): Preview {
    const siblings = `${session} ${chatKey(chat)}`;
    const outs = this.#siblings.get(siblings) ?? new Set();
    this.#siblings.set(siblings, outs.add(out));
    const preview = {
      session,
      gateway: chat.gateway,
      siblings,
      text,
      at: 0,
      shown: 0,
      isSent: false,
      isPosted: false,
      life: 0,
      isScheduled: false,
      cancel: nothing,
    };
    this.#open.set(out, preview);
    const [oldest] = outs;
    if (outs.size > MAX_DELIVERIES + 1 && oldest !== undefined) this.done(oldest);
    return preview;
  }

  #send(preview: Preview, chat: ChatAddress, out: string, replyTo: string | undefined): void {
    const link = this.#link(chat.gateway);
    if (!link?.isReady || !link.running || this.#open.get(out) !== preview) return;
    if (preview.isSent && preview.life !== link.life) return;
    const text = preview.text();
    // What may be posted first never holds all: were its confirmation lost, that would stand there twice.
    const shown = preview.isPosted ? previewOf : partialPreviewOf;
    const content = shown(text, limitsOfParts(link.limits));
    // A step that is tried again shows nothing until it has more than was shown.
    if (content === null || content.length <= preview.shown) return;
    const { chat_id, thread_id } = chat;
    const isTaken = link.running.notify({
      type: 'preview_message',
      preview_id: out,
      chat_id,
      ...(thread_id === undefined ? {} : { thread_id }),
      ...(replyTo !== undefined && link.can('reply') ? { reply_to: replyTo } : {}),
      content,
    });
    if (!isTaken) return;
    preview.shown = content.length;
    preview.isSent = true;
    preview.life = link.life;
  }

  /** The session whose reply this is a preview of; null: none, or another gateway's. */
  sessionOf(gateway: string, out: string): string | null {
    const preview = this.#open.get(out);
    return preview?.gateway === gateway ? preview.session : null;
  }

  /** The reply is being finished: nothing more is shown of it before. @returns whether anything was. */
  finish(out: string): boolean {
    const preview = this.#open.get(out);
    preview?.cancel();
    if (preview) preview.isScheduled = true;
    return preview?.isSent ?? false;
  }

  /** The reply is finished. */
  done(out: string): void {
    const preview = this.#open.get(out);
    if (!preview) return;
    preview.cancel();
    this.#open.delete(out);
    const outs = this.#siblings.get(preview.siblings);
    outs?.delete(out);
    if (outs?.size === 0) this.#siblings.delete(preview.siblings);
  }

  /** Forgets replies that came to nothing. */
  #prune(): void {
    const now = this.#clock.monotonic();
    for (const [out, preview] of this.#open) {
      if (now - preview.at > FORGET_MS) this.done(out);
    }
  }
}

function nothing(): void {}
