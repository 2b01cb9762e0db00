import type { CommandOf } from '@duragent/protocol';
import type { Result } from './calls.ts';
import type { Failure } from './failure.ts';
import { forgetOldest } from './forget-oldest.ts';
import { readId } from './ids.ts';
import type { Family, Pacer } from './pacer.ts';
import { readForms, type Texts, type Where } from './texts.ts';
import type { Typing } from './typing.ts';

/** A preview has no longer for its call: a final may be waiting for it. */
const PREVIEW_TIMEOUT_MS = 15_000;
const MAX_PREVIEWS = 1000;

/** What previews are shown with, and where their news go. */
export interface PreviewsOptions {
  texts: Texts;
  typing: Typing;
  pacer: Pacer;
  /** How replies are shown while they are written: as a message that is edited, or as a draft. */
  streaming: 'edit' | 'draft';
  /** Called once for each preview that is a message. */
  previewPosted(previewId: string, messageId: string): void;
  /** What went wrong and is answered to nobody. */
  onFault(what: string, failure: Failure): void;
}

/** Shows replies while they are written: the newest text, never more than one call for each. */
export class Previews {
  readonly #options: PreviewsOptions;
  readonly #previews = new Map<string, Preview>();
  /** Those that ended: what comes late for them is dropped. */
  readonly #ended = new Set<string>();
  #isClosed = false;

  constructor(options: PreviewsOptions) {
    this.#options = options;
  }

  /** Shows the text so far of a reply, as soon and as often as Telegram takes it. */
  show(command: CommandOf<'preview_message'>): void {
    if (this.#isClosed || this.#ended.has(command.preview_id)) return;
    let preview = this.#previews.get(command.preview_id);
    if (preview === undefined) {
      const chat = readId(command.chat_id);
      if (chat === null) return;
      preview = new Preview(command, chat, this.#options.streaming === 'draft' && chat > 0);
      this.#previews.set(command.preview_id, preview);
      forgetOldest(this.#previews, MAX_PREVIEWS);
    }
    preview.newest = command.content;
    this.#pump(preview);
  }

  /**
   * No call of the preview starts any more, and the one in flight is over: what is posted after
   * this stays. @returns the message that the preview is.
   */
  async end(id: string, signal: AbortSignal): Promise<number | null> {
    this.#ended.add(id);
    forgetOldest(this.#ended, MAX_PREVIEWS);
    const preview = this.#previews.get(id);
    if (preview === undefined) return null;
    preview.close();
    await untilAborted(preview.busy, signal);
    return preview.messageId;
  }

  /** Its final is out. */
  forget(id: string): void {
    this.#previews.delete(id);
  }

  /** Starts no more calls. */
  close(): void {
    this.#isClosed = true;
    for (const preview of this.#previews.values()) preview.close();
  }

  /** Starts the next call for a preview, now or when there may be one. */
  #pump(preview: Preview): void {
    if (!preview.isOwed()) return;
    const waitMs = this.#options.pacer.previewWaitMs(preview.chat, preview.family());
    if (waitMs > 0) {
      preview.wakeAfter(waitMs, () => this.#pump(preview));
      return;
    }
    this.#options.pacer.takePreview(preview.chat);
    preview.busy = this.#show(preview, preview.newest).finally(() => {
      preview.busy = null;
      this.#pump(preview);
    });
  }

  async #show(preview: Preview, content: string): Promise<void> {
    const { texts, typing, previewPosted } = this.#options;
    const signal = AbortSignal.timeout(PREVIEW_TIMEOUT_MS);
    const { chat, messageId } = preview;
    const forms = await readForms(content, 'markdown');
    if (preview.isDraft) {
      const result = await texts.draft(preview, forms, signal);
      if (result === 'no drafts') preview.isDraft = false;
      else this.#shown(preview, content, result);
      return;
    }
    const result =
      messageId === null
        ? await texts.post(preview, forms, undefined, signal)
        : await texts.edit(chat, messageId, forms, undefined, signal);
    if (result.ok && messageId === null) {
      preview.messageId = result.value;
      typing.stop({ chat_id: String(chat), thread_id: preview.thread });
      previewPosted(preview.id, String(result.value));
    }
    this.#shown(preview, content, result);
  }

  #shown(preview: Preview, content: string, result: Result<unknown>): void {
    if (result.ok) {
      preview.shown = content;
      return;
    }
    const { failure } = result;
    if (failure.code === 'rate_limited') return;
    // A posting whose answer was lost may be there, and is not repeated. Else the next text may be
    // taken where Telegram had a trouble of its own.
    const mayBePosted = failure.isUncertain && preview.messageId === null && !preview.isDraft;
    if (mayBePosted || !(failure.code === 'platform_error' || failure.code === 'not_connected')) {
      preview.isStuck = true;
    }
    preview.shown = content;
    this.#options.onFault('a preview', failure);
  }
}

/** A reply that is being written. */
class Preview implements Where {
  readonly id: string;
  readonly chat: number;
  readonly thread: string | undefined;
  readonly replyTo: string | undefined;
  readonly draftId: number;
  isDraft: boolean;
  newest: string;
  /** What Telegram shows, or refused. */
  shown: string | null = null;
  messageId: number | null = null;
  /** The call in flight. Never rejects. */
  busy: Promise<void> | null = null;
  /** It was refused for good, or its posting may have happened: the final is the next call. */
  isStuck = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(command: CommandOf<'preview_message'>, chat: number, isDraft: boolean) {
    this.id = command.preview_id;
    this.chat = chat;
    this.thread = command.thread_id;
    this.replyTo = command.reply_to;
    this.newest = command.content;
    this.isDraft = isDraft;
    this.draftId = hash(command.preview_id);
  }

  isOwed(): boolean {
    const mayCall = this.busy === null && this.#timer === null && !this.#isClosed && !this.isStuck;
    return mayCall && this.newest !== this.shown;
  }

  family(): Family {
    if (this.isDraft) return 'draft';
    return this.messageId === null ? 'send' : 'edit';
  }

  wakeAfter(ms: number, wake: () => void): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      wake();
    }, ms);
    this.#timer.unref();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** A number above 0 that the same text always gives (FNV-1a). */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const character of text) {
    value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  return value >>> 1 || 1;
}

/** Waits for a promise that never rejects, or the abort. */
async function untilAborted(promise: Promise<void> | null, signal: AbortSignal): Promise<void> {
  if (promise === null || signal.aborted) return;
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const stop = (): void => resolve();
  signal.addEventListener('abort', stop, { once: true });
  await Promise.race([promise, aborted]);
  signal.removeEventListener('abort', stop);
}
