import type { IncomingMessage, ServerResponse } from 'node:http';
import { DuragentError } from '@duragent/protocol';

const MAX_WAIT_SECONDS = 60;

const statuses: Partial<Record<DuragentError['code'], number>> = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  payload_too_large: 413,
  unsupported_media_type: 415,
  misdirected_request: 421,
  too_many_requests: 429,
  draining: 503,
  request_timeout: 504,
};

/** Holds a path to the one method it takes. @throws DuragentError method_not_allowed */
export function allow(request: IncomingMessage, method: string): void {
  if (request.method === method) return;
  throw new DuragentError('method_not_allowed', `Call this path with ${method}.`);
}

/** How long the caller wants to wait, in ms. @throws DuragentError invalid_request */
export function readWait(url: URL): number {
  return readCount(url, 'wait', MAX_WAIT_SECONDS) * 1000;
}

/** A whole number of the query; 0 where it is missing. @throws DuragentError invalid_request */
export function readCount(url: URL, name: string, most: number): number {
  const text = url.searchParams.get(name) ?? '0';
  if (/^\d{1,16}$/.test(text) && Number(text) <= most) return Number(text);
  throw new DuragentError('invalid_request', `${name} takes a whole number from 0 to ${most}.`);
}

/** One part of a path. @throws DuragentError invalid_request */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new DuragentError('invalid_request', 'The path is not percent-encoded UTF-8.', {
      cause: error,
    });
  }
}

/** Answers, unless the caller is gone. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(`${JSON.stringify(body)}\n`);
}

/** Answers with what went wrong; what nobody expected is told without its reason. */
export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const known = error instanceof DuragentError;
  const code = known ? error.code : 'internal';
  const message = known ? error.message : 'It failed; the log of the gateway says why.';
  // What is left of a body that was refused is not read.
  if (!request.complete) response.setHeader('connection', 'close');
  sendJson(response, statuses[code] ?? 500, { code, message, ...(known ? error.details : {}) });
}
