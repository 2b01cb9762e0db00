import type { FetchLike } from '@modelcontextprotocol/client';

/** The largest body of a refusal. */
const MAX_ERROR_BYTES = 64 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/**
 * `fetch` for servers of tools, whose bodies are bounded: a stream of events has at most `maxBytes`
 * an event, any other body at most `maxBytes`. What is beyond fails the body.
 */
export function guardedFetch(
  fetchUrl: FetchLike,
  options: { maxBytes: number; onBytes: (bytes: number) => void },
): FetchLike {
  return async (url, init) => {
    const response = await fetchUrl(url, init);
    const { body, status, statusText, headers } = response;
    if (body === null) return response;
    const isStream =
      response.ok && /^text\/event-stream\b/i.test(headers.get('content-type') ?? '');
    const limit = response.ok ? options.maxBytes : Math.min(options.maxBytes, MAX_ERROR_BYTES);
    const bounded = boundedBody(body, { limit, isStream, onBytes: options.onBytes });
    return new Response(bounded, { status, statusText, headers });
  };
}

function boundedBody(
  body: ReadableStream<Uint8Array>,
  options: { limit: number; isStream: boolean; onBytes: (bytes: number) => void },
): ReadableStream<Uint8Array> {
  const { limit, isStream, onBytes } = options;
  const reader = body.getReader();
  /** Since the body, or its last event, began. */
  let bytes = 0;
  let isLineStart = false;
  let isAfterCr = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) {
        controller.close();
        return;
      }
      onBytes(value.length);
      if (isStream) count(value);
      else bytes += value.length;
      if (bytes > limit) {
        const error = new Error(`the server sent more than ${limit} bytes at once`);
        controller.error(error);
        await reader.cancel(error);
        return;
      }
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });

  /** An empty line ends an event. A line ends in CR LF, LF or CR. */
  function count(chunk: Uint8Array): void {
    for (const byte of chunk) {
      const isLineEnd = byte === LF || byte === CR;
      if (!isLineEnd) bytes += 1;
      else if (isLineStart && !(byte === LF && isAfterCr)) bytes = 0;
      if (bytes > limit) return;
      isLineStart = isLineEnd;
      isAfterCr = byte === CR;
    }
  }
}
