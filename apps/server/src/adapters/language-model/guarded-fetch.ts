/** The largest body of an answer, and its largest line: the SDK itself would buffer without end. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const MAX_LINE_BYTES = 8 * 1024 * 1024;
/** The largest body of a refusal. */
const MAX_ERROR_BYTES = 1024 * 1024;

const LF = 0x0a;

/** A server sent more than an answer of a model can be. */
export class AnswerTooLargeError extends Error {
  override readonly name = 'AnswerTooLargeError';
}

/**
 * `fetch` for model providers: bounds what it reads, and does not follow redirects, which would
 * carry the key to another host.
 */
export async function guardedFetch(
  input: string | URL | Request,
  init?: RequestInit,
): Promise<Response> {
  const response = await fetch(input, { ...init, redirect: 'manual' });
  if (response.body === null) return response;
  const { status, statusText, headers } = response;
  const limit = response.ok ? MAX_BODY_BYTES : MAX_ERROR_BYTES;
  return new Response(bounded(response.body, limit), { status, statusText, headers });
}

function bounded(body: ReadableStream<Uint8Array>, limit: number): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let total = 0;
  let line = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) {
        controller.close();
        return;
      }
      total += value.length;
      const end = value.lastIndexOf(LF);
      line = end === -1 ? line + value.length : value.length - end - 1;
      if (total > limit || line > MAX_LINE_BYTES) {
        const error = new AnswerTooLargeError(`more than ${limit} bytes, or one endless line`);
        controller.error(error);
        await reader.cancel(error);
        return;
      }
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
