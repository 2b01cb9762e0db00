import type { Post } from '../format.ts';
import { forgetOldest } from './forget-oldest.ts';

/** Posts beyond this are given up, oldest first. */
const MAX_WAITING = 1000;

/** Tells a webhook each post, one at a time; of a post that waits, only its newest text. */
export class Webhook {
  readonly #options: { url: string; token: string | null; signal: AbortSignal };
  readonly #failed: (error: unknown) => void;
  readonly #waiting = new Map<string, Post>();
  #isBusy = false;

  /** @param failed is told why a post was given up. */
  constructor(
    options: { url: string; token: string | null; signal: AbortSignal },
    failed: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#failed = failed;
  }

  push(post: Post): void {
    this.#waiting.set(post.message_id, structuredClone(post));
    forgetOldest(this.#waiting, MAX_WAITING);
    if (!this.#isBusy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    for (const [id, post] of this.#waiting) {
      this.#waiting.delete(id);
      await this.#tell(post);
    }
    this.#isBusy = false;
  }

  async #tell(post: Post): Promise<void> {
    const { url, token, signal } = this.#options;
    const options: RequestInit = {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ message: post }),
      redirect: 'error',
    };
    let failure: unknown;
    for (let attempt = 1; attempt <= 3 && !signal.aborted; attempt += 1) {
      try {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(5000)]);
        const response = await fetch(url, { ...options, signal: limit });
        await response.body?.cancel();
        if (response.ok) return;
        failure = new Error(`it answered ${response.status}`);
      } catch (error) {
        failure = error;
      }
    }
    if (!signal.aborted) this.#failed(failure);
  }
}
