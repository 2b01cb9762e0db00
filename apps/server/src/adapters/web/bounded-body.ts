import type { IncomingMessage } from 'node:http';
import { pipeline, type Duplex } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { FailedFetch } from './failure.ts';

/** How many bytes are read for each one that they may become. Beyond it is padding, not content. */
const MAX_RAW = 2;

/** Compressed data went on and on, and became next to nothing. */
class PaddedError extends Error {}

/**
 * The body of a response, decompressed, at most `limit` bytes of it. What is beyond is not waited
 * for: the response is destroyed.
 * @throws FailedFetch response_invalid where its compression is not known; or what broke the stream.
 */
export async function readBody(
  response: IncomingMessage,
  limit: number,
): Promise<{ body: Uint8Array; truncated: boolean }> {
  const pieces: Buffer[] = [];
  let total = 0;
  let truncated = false;
  try {
    for await (const piece of decoded(response, MAX_RAW * limit)) {
      pieces.push(piece);
      total += piece.length;
      truncated = total > limit;
      if (truncated) break;
    }
  } catch (error) {
    if (!(error instanceof PaddedError)) throw error;
    truncated = true;
  } finally {
    response.destroy();
  }
  const body = Buffer.concat(pieces).subarray(0, limit);
  // A view of the kept bytes only would keep all that was read.
  return { body: new Uint8Array(body), truncated };
}

/**
 * Reads the body of a response that nobody wants, at most `limit` bytes of it, so that its sender may
 * finish. Never throws: however it ends, the response is destroyed.
 */
export async function skipBody(response: IncomingMessage, limit: number): Promise<void> {
  let total = 0;
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      total += piece.length;
      if (total > limit) break;
    }
  } catch {
    // It broke off, or the time was over: what it would have said is not wanted.
  } finally {
    response.destroy();
  }
}

/** What the body is under at most one layer of compression: each more multiplies what a bomb can do. */
function decoded(response: IncomingMessage, maxRaw: number): AsyncIterable<Buffer> {
  const encoding = response.headers['content-encoding']?.trim().toLowerCase() ?? '';
  if (encoding === '' || encoding === 'identity') return response;
  const decoder = decoderOf(encoding);
  const counted = async function* (source: AsyncIterable<Buffer>) {
    let raw = 0;
    for await (const piece of source) {
      raw += piece.length;
      if (raw > maxRaw) throw new PaddedError();
      yield piece;
    }
  };
  // An error on either side destroys the decoder with it, whose reader is told.
  pipeline(response, counted, decoder, () => undefined);
  return decoder;
}

function decoderOf(encoding: string): Duplex {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'br':
      return createBrotliDecompress();
    case 'deflate':
      return createInflate();
    default:
      throw new FailedFetch(
        'response_invalid',
        'The answer is compressed in a way that is not supported. Try another page.',
      );
  }
}
