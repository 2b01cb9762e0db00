import type { WebFailure } from '../../ports/web.ts';

/** What ends a fetch early, as an error on its way to becoming a value. */
export class FailedFetch extends Error {
  readonly failure: WebFailure;

  constructor(code: string, message: string) {
    super(message);
    this.failure = { ok: false, code, message };
  }
}

/** A failure as a value. */
export function failed(code: string, message: string): WebFailure {
  return { ok: false, code, message };
}
