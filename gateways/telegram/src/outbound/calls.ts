import { setTimeout as delay } from 'node:timers/promises';
import { Api } from 'grammy';
import { type Failure, readFailure, unsent } from './failure.ts';
import { forgetOldest } from './forget-oldest.ts';
import type { Family, Pacer } from './pacer.ts';

/** How long a final waits here for its turn; what has to wait longer is answered `rate_limited`. */
const HOLD_MS = 1500;
const MAX_MIGRATED = 1000;

/**
 * The Bot API of one account. Nothing is repeated, and an answer that never ends is given up.
 * grammy's own `fetch` never notices one that is cut off; Node's does, and wants signals of its own kind.
 */
export function openApi(options: {
  token: string;
  apiRoot: string;
  timeoutSeconds: number;
  fetch?: typeof globalThis.fetch;
}): Api {
  const { token, apiRoot, timeoutSeconds, fetch: call = globalThis.fetch } = options;
  const nativeFetch = (url: string, init: RequestInit): Promise<Response> => {
    const theirs = init.signal;
    const ours = new AbortController();
    if (theirs?.aborted === true) ours.abort();
    theirs?.addEventListener('abort', () => ours.abort(), { once: true });
    return call(url, { ...init, signal: ours.signal });
  };
  return new Api(token, { apiRoot, timeoutSeconds, fetch: nativeFetch });
}

/** The type that grammy gives a signal; a real one fits. */
export type CallSignal = NonNullable<Parameters<Api['raw']['getMe']>[0]>;

/** What came of a call, or of several for one purpose. */
export type Result<T> = { ok: true; value: T } | { ok: false; failure: Failure };

/** What calls are made with. */
export interface CallsOptions {
  api: Api;
  /** The same account, with time for large files. */
  uploads: Api;
  pacer: Pacer;
  chatMigrated(from: number, to: number): void;
}

/** Makes the calls of one account. None is repeated that may have done something. */
export class Calls {
  readonly api: Api['raw'];
  /** The same account, with time for large files. */
  readonly uploads: Api['raw'];
  readonly pacer: Pacer;
  readonly #chatMigrated: CallsOptions['chatMigrated'];
  /** New ids of groups that became supergroups. */
  readonly #migrated = new Map<number, number>();
  /** Methods that this Bot API server does not have. */
  readonly #missing = new Set<string>();

  constructor(options: CallsOptions) {
    this.api = options.api.raw;
    this.uploads = options.uploads.raw;
    this.pacer = options.pacer;
    this.#chatMigrated = options.chatMigrated;
  }

  /** Whether this Bot API server said that it does not have a method. */
  isMissing(method: string): boolean {
    return this.#missing.has(method);
  }

  /**
   * One call. A group that moved is called once more under its new id: the refused call did
   * nothing. `retry_after` is remembered for this chat and kind of call.
   */
  async call<T>(
    chat: number,
    family: Family,
    method: string,
    signal: AbortSignal,
    run: (chat: number, signal: CallSignal) => Promise<T>,
  ): Promise<Result<T>> {
    for (let moved = false; ; moved = true) {
      const id = this.#migrated.get(chat) ?? chat;
      if (signal.aborted) return { ok: false, failure: unsent(`${method} was not sent in time`) };
      try {
        return { ok: true, value: await run(id, signal as CallSignal) };
      } catch (error) {
        const failure = readFailure(error, method);
        if (failure.retryAfterMs !== undefined) {
          this.pacer.refused(chat, family, failure.retryAfterMs);
        }
        if (failure.isMethodMissing) this.#missing.add(method);
        if (failure.migratedTo === undefined || moved) return { ok: false, failure };
        this.#migrated.set(chat, failure.migratedTo);
        forgetOldest(this.#migrated, MAX_MIGRATED);
        this.#chatMigrated(id, failure.migratedTo);
      }
    }
  }

  /** Waits for a final's turn. @returns why it cannot have one now. */
  async turn(chat: number, family: Family, signal: AbortSignal): Promise<Failure | null> {
    const blockedMs = this.pacer.blockedMs(chat, family);
    if (blockedMs > HOLD_MS) return rateLimited(blockedMs);
    const waitMs = Math.min(HOLD_MS, Math.max(blockedMs, this.pacer.reserve(chat)));
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => undefined);
    return signal.aborted ? unsent('there was no time left to send it') : null;
  }
}

function rateLimited(ms: number): Failure {
  const retryAfterMs = Math.ceil(ms);
  const message = `Telegram refuses calls to this chat for another ${retryAfterMs} ms`;
  return { ...unsent(message), code: 'rate_limited', retryAfterMs };
}
