import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { DuragentError } from '@duragent/protocol';
import { problemOf } from './problem.ts';

/** Bytes that a client's socket may hold before writing to it stops. */
const SOCKET_BUFFER = 256 * 1024;
const HEADERS_TIMEOUT_MS = 30_000;

export interface ServerLimits {
  /** For a request to arrive as a whole, headers and body. */
  requestTimeoutMs: number;
  /** How long a connection may stay open between two requests. */
  idleTimeoutMs: number;
  maxConnections: number;
}

/**
 * An HTTP server, not listening yet: bounded in connections, header time, idle time and buffers.
 * What Node's parser refuses is answered as a problem too. `handle`: an app's `callback()`.
 */
export function createHttpServer(
  handle: (req: IncomingMessage, res: ServerResponse) => unknown,
  limits: ServerLimits,
): Server {
  const server = createServer({
    highWaterMark: SOCKET_BUFFER,
    // A missing Host is answered by the Host check.
    requireHostHeader: false,
    connectionsCheckingInterval: 5_000,
  });
  limitTimes(server, limits);
  server.maxConnections = limits.maxConnections;
  const responses = new WeakMap<Duplex, ServerResponse>();
  server.on('request', (req, res) => {
    responses.set(req.socket, res);
    void handle(req, res);
  });
  // An expectation that is not known may be ignored.
  server.on('checkExpectation', (req, res) => server.emit('request', req, res));
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    const response = responses.get(socket);
    const isAnswering = response?.headersSent === true && !response.writableFinished;
    if (!socket.writable || isAnswering || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    socket.end(refusal(error.code), () => socket.destroy());
  });
  return server;
}

/** Sets a server's times, also while it listens. */
export function limitTimes(
  server: Server,
  limits: Pick<ServerLimits, 'requestTimeoutMs' | 'idleTimeoutMs'>,
): void {
  server.requestTimeout = limits.requestTimeoutMs;
  server.headersTimeout = Math.min(HEADERS_TIMEOUT_MS, limits.requestTimeoutMs);
  server.keepAliveTimeout = limits.idleTimeoutMs;
}

/** The answer to what is no HTTP request, or took too long to become one. */
function refusal(code: string | undefined): string {
  const requestId = randomUUID();
  let error = new DuragentError('invalid_request', 'This is not a well-formed HTTP/1.1 request.');
  let status = '400 Bad Request';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    error = new DuragentError('request_timeout', 'The request took too long to arrive.');
    status = '408 Request Timeout';
  } else if (code === 'HPE_HEADER_OVERFLOW') {
    error = new DuragentError(
      'invalid_request',
      'The headers are too large; they may have 16 KiB.',
    );
    status = '431 Request Header Fields Too Large';
  }
  const body = JSON.stringify({
    ...problemOf(error, requestId).body,
    status: Number(status.slice(0, 3)),
  });
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-ID: ${requestId}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
