import type { ChatAddress } from '@duragent/protocol';
import { previewOf } from '../../core/split.ts';
import type { Clock } from '../../ports/clock.ts';
import type { GatewayLink } from './gateway-link.ts';
import { limitsOfParts } from './outlet.ts';

/** Between two previews of one reply to its gateway, which paces them further, in ms. */
const EVERY_MS = 250;
/** Replies that are being written at once and have a preview. */
const MAX_OPEN = 10_000;
const PRUNE_AT = 1_000;
/** A reply that has not grown for so long, and was never finished, is forgotten, in ms. */
const FORGET_MS = 60 * 60 * 1000;

interface Preview {
  session: string;
  text: () => string;
  /** When it grew last, on the monotonic clock. */
  at: number;
  /** UTF-16 units of what was shown last. */
  shown: number;
  isSent: boolean;
  isScheduled: boolean;
  cancel: () => void;
}

/** Shows replies in chats while they are written. Best effort: what is recorded does not depend on it. */
export class Previews {
  readonly #clock: Clock;
  readonly #link: (gateway: string) => GatewayLink | null;
  readonly #open = new Map<string, Preview>();

  constructor(clock: Clock, link: (gateway: string) => GatewayLink | null) {
    this.#clock = clock;
    this.#link = link;
  }

  /** The text of a reply has grown; it is read when there is time to show it. */
  show(session: string, chat: ChatAddress, out: string, text: () => string): void {
    const link = this.#link(chat.gateway);
    if (!link?.isReady || !link.can('preview')) return;
    let preview = this.#open.get(out);
    if (!preview) {
      if (this.#open.size >= PRUNE_AT) this.#prune();
      if (this.#open.size >= MAX_OPEN) return;
      const cancel = (): void => undefined;
      preview = { session, text, at: 0, shown: 0, isSent: false, isScheduled: false, cancel };
      this.#open.set(out, preview);
    }
    preview.text = text;
    preview.at = this.#clock.monotonic();
    if (preview.isScheduled) return;
    preview.isScheduled = true;
    const due = preview;
    due.cancel = this.#clock.after(due.isSent ? EVERY_MS : 0, () => {
      due.isScheduled = false;
      this.#send(due, chat, out);
    });
  }

  #send(preview: Preview, chat: ChatAddress, out: string): void {
    const link = this.#link(chat.gateway);
    if (!link?.isReady || !link.running || this.#open.get(out) !== preview) return;
    const content = previewOf(preview.text(), limitsOfParts(link.limits));
    // A step that is tried again shows nothing until it has more than was shown.
    if (content === null || content.length <= preview.shown) return;
    const { chat_id, thread_id } = chat;
    const isTaken = link.running.notify({
      type: 'preview_message',
      preview_id: out,
      chat_id,
      ...(thread_id === undefined ? {} : { thread_id }),
      content,
    });
    if (!isTaken) return;
    preview.shown = content.length;
    preview.isSent = true;
  }

  /** The session whose reply this is a preview of. */
  sessionOf(out: string): string | null {
    return this.#open.get(out)?.session ?? null;
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
    this.#open.get(out)?.cancel();
    this.#open.delete(out);
  }

  /** Forgets replies that came to nothing. */
  #prune(): void {
    const now = this.#clock.monotonic();
    for (const [out, preview] of this.#open) {
      if (now - preview.at > FORGET_MS) this.done(out);
    }
  }
}
