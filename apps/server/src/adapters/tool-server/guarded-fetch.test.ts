import { describe, expect, test } from 'vitest';
import { guardedFetch } from './guarded-fetch.ts';

/** What is read of a body that comes in pieces of three bytes. */
async function read(body: string, type: string, status = 200): Promise<string> {
  const bytes = Buffer.from(body);
  let at = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.subarray(at, (at += 3)));
    },
  });
  const response = new Response(stream, { status, headers: { 'content-type': type } });
  const fetchUrl = guardedFetch(async () => response, { maxBytes: 20, onBytes: () => undefined });
  return (await fetchUrl('http://x')).text();
}

describe('a body', () => {
  test('is read up to its bound', async () => {
    expect(await read('x'.repeat(20), 'application/json')).toHaveLength(20);
    await expect(read('x'.repeat(21), 'application/json')).rejects.toThrow('more than 20 bytes');
    await expect(read('x\n\n'.repeat(21), 'text/plain')).rejects.toThrow('more than 20 bytes');
  });

  test.each(['\n', '\r\n', '\r'])(
    'of events is bounded for each of them, ended by %j',
    async (end) => {
      const event = `data: 1${end}data: 2${end}${end}`;
      expect(await read(event.repeat(50), 'text/event-stream; charset=utf-8')).toHaveLength(
        50 * event.length,
      );
      const endless = `data: 1${end}`.repeat(50);
      await expect(read(endless, 'text/event-stream')).rejects.toThrow('more than 20 bytes');
    },
  );

  test('of an error is bounded as a whole', async () => {
    await expect(read('data: 1\n\n'.repeat(9), 'text/event-stream', 500)).rejects.toThrow(
      'more than 20 bytes',
    );
  });
});
