import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { DuragentError, MAX_BODY_BYTES } from '@duragent/protocol';
import type { Clock } from '../ports/clock.ts';
import type { HttpContext } from './context.ts';
import { findJsonFault } from './json-fault.ts';
import { ClientLeft } from './request-scope.ts';

const MAX_DEPTH = 64;
const MAX_FAULTS = 20;
/** How much of a refused body is still read, and for how long, so that its sender gets the answer. */
const LINGER_BYTES = 16 * 1024 * 1024;
const LINGER_MS = 5_000;
const JSON_TYPE = /^application\/json *(?:; *charset *= *"?utf-8"? *)?$/i;

/** As much of a zod schema as reading a body takes. */
interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: ZodFault };
}
interface ZodFault {
  issues: readonly Issue[];
}
interface Issue {
  code: string;
  path: readonly PropertyKey[];
  message: string;
  keys?: readonly string[];
  errors?: readonly (readonly Issue[])[];
}

/**
 * Reads and checks the JSON body of a request; no body is read as `{}`.
 * @throws DuragentError unsupported_media_type, payload_too_large, or invalid_request with the
 *   position of a fault of the text, or the JSON pointer of each fault of the value.
 */
export async function readJson<T>(ctx: HttpContext, schema: Schema<T>): Promise<T> {
  const bytes = await readBody(ctx.req);
  ctx.state.scope.assertInTime();
  const value: unknown = bytes.length === 0 ? {} : parse(decode(bytes));
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => faultsOf(issue, [])).slice(0, MAX_FAULTS);
  const first = errors[0];
  throw new DuragentError(
    'invalid_request',
    `The body does not fit${first ? `: ${first.pointer || 'the whole'}: ${first.message}` : '.'}`,
    { details: { errors } },
  );
}

/** Whether the body of a request has not been received to its end. */
export function isBodyOpen(req: IncomingMessage): boolean {
  return hasBody(req) && !req.complete;
}

/**
 * A response that ends only when the body it refuses has been read, or enough of it: closing a
 * connection with unread bytes would take the answer away from a client that still sends.
 */
export function lingering(text: string, req: IncomingMessage, clock: Clock): Readable {
  const answer = new Readable({ read: () => undefined });
  let left = LINGER_BYTES;
  const end = (): void => {
    cancel();
    req.off('data', count);
    if (!answer.readableEnded && !answer.destroyed) answer.push(null);
  };
  const count = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) end();
  };
  const cancel = clock.after(LINGER_MS, end);
  req.on('data', count).once('close', end).resume();
  answer.once('close', end);
  answer.push(text);
  return answer;
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** The whole body, counted as it comes: neither its declared length nor its end is trusted. */
function readBody(req: IncomingMessage): Promise<Buffer> {
  if (!hasBody(req)) return Promise.resolve(Buffer.alloc(0));
  if (!JSON_TYPE.test(req.headers['content-type'] ?? '')) {
    throw new DuragentError(
      'unsupported_media_type',
      'The body has to be JSON: send "Content-Type: application/json".',
    );
  }
  if (Number(req.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (): void => {
      req.off('data', take).off('end', finish).off('close', leave).off('error', leave);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size <= MAX_BODY_BYTES) return;
      settle();
      reject(tooLarge());
    };
    const finish = (): void => {
      settle();
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    };
    const leave = (): void => {
      settle();
      reject(new ClientLeft());
    };
    req.on('data', take).once('end', finish).once('close', leave).once('error', leave);
  });
}

function tooLarge(): DuragentError {
  return new DuragentError(
    'payload_too_large',
    `A body may have ${MAX_BODY_BYTES} bytes; send less.`,
  );
}

function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (isUtf8(bytes)) return text;
  // A replacement character that the sender did not write stands for bytes that are not UTF-8.
  let offset = 0;
  let from = 0;
  for (let i = text.indexOf('\ufffd'); i >= 0; i = text.indexOf('\ufffd', from)) {
    offset += Buffer.byteLength(text.slice(from, i));
    if (bytes.readUIntBE(offset, Math.min(3, bytes.length - offset)) !== 0xefbfbd) break;
    offset += 3;
    from = i + 1;
  }
  throw new DuragentError('invalid_request', `The body is not UTF-8 at byte ${offset}.`, {
    details: { position: offset },
  });
}

function parse(text: string): unknown {
  // What is shorter cannot be nested too deep.
  const fault = text.length > 2 * MAX_DEPTH ? findJsonFault(text, MAX_DEPTH) : null;
  if (fault) throw badJson(text, fault);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badJson(text, findJsonFault(text, MAX_DEPTH) ?? { position: 0, reason: String(error) });
  }
}

function badJson(text: string, fault: { position: number; reason: string }): DuragentError {
  const before = text.slice(0, fault.position);
  const line = before.split('\n').length;
  const column = fault.position - before.lastIndexOf('\n');
  return new DuragentError(
    'invalid_request',
    `The body is not JSON that is read here: ${fault.reason} at line ${line}, column ${column}.`,
    { details: { position: fault.position } },
  );
}

/** One fault for each thing wrong: a union is told by the alternative that came closest. */
function faultsOf(
  issue: Issue,
  base: readonly PropertyKey[],
): { pointer: string; message: string }[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys' && issue.keys) {
    return issue.keys.map((key) => ({
      pointer: pointer([...path, key]),
      message: 'This key is not known here.',
    }));
  }
  if (issue.code === 'invalid_union' && issue.errors) {
    const closest = issue.errors.find((issues) => issues.some((inner) => inner.path.length > 0));
    if (closest) return closest.flatMap((inner) => faultsOf(inner, path));
    const messages = issue.errors.flatMap((issues) => issues.map((inner) => inner.message));
    return [{ pointer: pointer(path), message: [...new Set(messages)].join(', or ') }];
  }
  return [{ pointer: pointer(path), message: issue.message }];
}

function pointer(path: readonly PropertyKey[]): string {
  return path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
