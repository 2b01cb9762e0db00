import { DuragentError, problemSchema } from '@duragent/protocol';
import { isErrorCode } from '../exit-codes.ts';

/** Where a server listens and what opens it. The token is never printed. */
export interface ServerAddress {
  url: string;
  token: string;
}

export interface HttpRequest {
  method: 'GET' | 'POST' | 'DELETE';
  /** From `/`, with its query. */
  path: string;
  body?: unknown;
  accept?: string;
  idempotencyKey?: string;
  signal: AbortSignal;
}

/** An answer that a later try of the same request may turn into a success. */
const transientStatuses: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

/**
 * One request. This file is the only place of the command that opens a connection.
 * @throws DuragentError with the problem's code; no_server when there was no answer. `details.transient`
 * says that it may be tried again, `details.retryAfterMs` when. The signal's reason when aborted.
 */
export async function send(address: ServerAddress, request: HttpRequest): Promise<Response> {
  const headers: Record<string, string> = {
    accept: request.accept ?? 'application/json',
    authorization: `Bearer ${address.token}`,
  };
  if (request.body !== undefined) headers['content-type'] = 'application/json';
  if (request.idempotencyKey !== undefined) headers['idempotency-key'] = request.idempotencyKey;
  let response: Response;
  try {
    response = await fetch(new URL(request.path, address.url), {
      method: request.method,
      headers,
      body: request.body === undefined ? undefined : JSON.stringify(request.body),
      redirect: 'error',
      signal: request.signal,
    });
  } catch (cause) {
    request.signal.throwIfAborted();
    throw connectionLost(address.url, cause);
  }
  if (response.ok) return response;
  throw await readProblem(response, request.signal);
}

/** What `/readyz` says. */
export interface Probe {
  ready: boolean;
  workspace: unknown;
  instance: unknown;
}

const PROBE_MS = 2_000;

/** Asks `/readyz`; null: nothing answers there within 2 s. @throws the signal's reason when aborted */
export async function probeServer(
  url: string,
  options: { signal: AbortSignal },
): Promise<Probe | null> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(PROBE_MS)]);
  let ready: boolean;
  let body: unknown;
  try {
    const response = await fetch(new URL('/readyz', url), { redirect: 'error', signal });
    ready = response.ok;
    body = await response.json();
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof SyntaxError) return { ready: false, workspace: null, instance: null };
    // Refused, reset or too slow: whatever it was, nothing answers there.
    return null;
  }
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  return { ready, workspace: fields['workspace'], instance: fields['instance'] };
}

/** The JSON body of an answer. @throws as `send` does */
export async function readJson(response: Response, signal: AbortSignal): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch (cause) {
    signal.throwIfAborted();
    throw connectionLost(response.url, cause);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw notDuragent(response.url, cause);
  }
}

/** What answered speaks HTTP but not this API. */
export function notDuragent(url: string, cause?: unknown): DuragentError {
  return new DuragentError(
    'failed',
    `What answers at ${new URL(url).origin} does not speak this version of Duragent's API. Check the address and its version.`,
    { cause },
  );
}

/** Whether the same request may succeed later. */
export function isTransient(error: unknown): error is DuragentError {
  return error instanceof DuragentError && error.details['transient'] === true;
}

/** @returns the error of a connection that was refused or lost */
export function connectionLost(url: string, cause: unknown): DuragentError {
  return new DuragentError(
    'no_server',
    `No answer from ${new URL(url).origin}. Is the server running? \`duragent serve status\` tells.`,
    { cause, details: { transient: true } },
  );
}

async function readProblem(response: Response, signal: AbortSignal): Promise<DuragentError> {
  const transient = transientStatuses.has(response.status);
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  const details: Record<string, unknown> = { status: response.status };
  if (transient) details['transient'] = true;
  if (Number.isFinite(retryAfter) && retryAfter >= 0) details['retryAfterMs'] = retryAfter * 1000;
  const body = await readJson(response, signal).catch((cause: unknown) => ({ cause }));
  signal.throwIfAborted();
  return (
    errorOfProblem(body, details) ??
    new DuragentError(
      transient ? 'no_server' : 'failed',
      `${new URL(response.url).origin} answered ${String(response.status)}, and not as Duragent does. Check the address.`,
      { details },
    )
  );
}

/** The error that a problem document stands for; null when it is none. */
export function errorOfProblem(
  body: unknown,
  details: Record<string, unknown> = {},
): DuragentError | null {
  const read = problemSchema.safeParse(body);
  if (!read.success) return null;
  const { code, detail, errors, request_id: requestId, status } = read.data;
  const faults = (errors ?? []).map((fault) => `\n  ${fault.pointer || '/'}: ${fault.message}`);
  return new DuragentError(isErrorCode(code) ? code : 'failed', detail + faults.join(''), {
    details: {
      transient: transientStatuses.has(status) || code === 'draining',
      ...details,
      requestId,
      problem: code,
    },
  });
}
