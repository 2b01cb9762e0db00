import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import path from 'node:path';
import {
  callbackQuerySchema,
  DuragentError,
  messageReceivedSchema,
  type GatewayEventOf,
  type MediaFile,
} from '@duragent/protocol';

/** What the gateway adds to what a caller says. */
export interface Arrival {
  /** Names a message that the caller gave no id. */
  messageId: string;
  /** Now: UTC, ISO 8601. */
  at: string;
  /** Where files go that come with a message. */
  mediaDir: string;
}

type Body = Readonly<Record<string, unknown>>;

/**
 * The event that a `POST /messages` stands for; its files are written.
 * @throws DuragentError invalid_request, naming the field.
 */
export async function readMessage(
  body: unknown,
  arrival: Arrival,
): Promise<GatewayEventOf<'message_received'> & { event_id: string }> {
  const said = readBody(body, messageFields);
  const sender = readSender(said);
  const files = readFiles(said['media']);
  const event = messageReceivedSchema.safeParse({
    type: 'message_received',
    message_id: said['message_id'] ?? arrival.messageId,
    edited: said['edited'],
    chat_id: said['chat_id'],
    ...given(said, 'thread_id'),
    sender,
    content: {
      ...given(said, 'text'),
      ...given(said, 'location'),
      ...given(said, 'contact'),
      ...given(said, 'unknown'),
    },
    routing: {
      channel: 'loopback',
      chat_type: said['chat_type'] ?? 'dm',
      chat_id: said['chat_id'],
      sender_id: sender['id'],
    },
    ...given(said, 'reply_to'),
    mentions_bot: said['mentions_bot'],
    reply_to_bot: said['reply_to_bot'],
    timestamp: arrival.at,
    metadata: {},
  });
  if (!event.success) throw refuse(event.error.issues);
  const { content } = event.data;
  if (files.length === 0 && Object.keys(content).length === 0) {
    throw new DuragentError('invalid_request', 'text: say something, or send media.');
  }
  const event_id = readEventId(said);
  if (files.length === 0) return { ...event.data, event_id };
  const media = await saveFiles(files, arrival.mediaDir);
  return { ...event.data, content: { ...content, media }, event_id };
}

/**
 * The event that a `POST /presses` stands for.
 * @throws DuragentError invalid_request, naming the field.
 */
export function readPress(
  body: unknown,
  arrival: Omit<Arrival, 'messageId' | 'mediaDir'>,
): GatewayEventOf<'callback_query'> & { event_id: string } {
  const said = readBody(body, pressFields);
  const event = callbackQuerySchema.safeParse({
    type: 'callback_query',
    callback_query_id: said['callback_query_id'] ?? `press_${randomUUID()}`,
    chat_id: said['chat_id'],
    ...given(said, 'thread_id'),
    chat_type: said['chat_type'] ?? 'dm',
    sender: readSender(said),
    message_id: said['message_id'],
    data: said['data'],
    timestamp: arrival.at,
  });
  if (!event.success) throw refuse(event.error.issues);
  return { ...event.data, event_id: readEventId(said) };
}

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * A page that a browser was tricked into gets no answer: it comes with a name, or from elsewhere.
 * @throws DuragentError misdirected_request or forbidden.
 */
export function checkHost(request: IncomingMessage): void {
  const { rawHeaders } = request;
  const hosts = rawHeaders.filter(
    (_, at) => rawHeaders[at - 1]?.toLowerCase() === 'host' && at % 2,
  );
  const [host = ''] = hosts;
  const url = `http://${host}`;
  const name = URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : '';
  if (hosts.length !== 1 || /[/@?#\\]/.test(host) || (name !== 'localhost' && isIP(name) === 0)) {
    throw new DuragentError(
      'misdirected_request',
      'Call this gateway as localhost or by its IP address.',
    );
  }
  const { origin } = request.headers;
  const site = request.headers['sec-fetch-site'];
  if (
    (origin !== undefined && origin !== url) ||
    (site !== undefined && site !== 'same-origin' && site !== 'none')
  ) {
    throw new DuragentError('forbidden', 'Requests from the pages of other sites are refused.');
  }
}

/**
 * Asks for the bearer token, if there is one. Compares hashes: how long that takes says nothing of it.
 * @throws DuragentError unauthorized.
 */
export function checkToken(request: IncomingMessage, token: string | null): void {
  if (token === null) return;
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const given = digest(request.headers.authorization ?? '');
  if (timingSafeEqual(given, digest(`Bearer ${token}`))) return;
  throw new DuragentError(
    'unauthorized',
    'Send "Authorization: Bearer <token>" with the token of config.token.',
  );
}

/**
 * Reads a body of JSON, at most 1 MiB.
 * @throws DuragentError unsupported_media_type, payload_too_large or invalid_request.
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/json') {
    throw new DuragentError('unsupported_media_type', 'Send "Content-Type: application/json".');
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) {
      throw new DuragentError('payload_too_large', `A body may have ${MAX_BODY_BYTES} bytes.`);
    }
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (error) {
    throw new DuragentError('invalid_request', 'The body is no JSON.', { cause: error });
  }
}

const messageFields = new Set(
  'chat_id text sender chat_type thread_id message_id event_id edited mentions_bot reply_to reply_to_bot is_bot media location contact unknown'.split(
    ' ',
  ),
);
const pressFields = new Set(
  'chat_id message_id data sender is_bot thread_id chat_type event_id callback_query_id'.split(' '),
);

/** A typing error in a field's name would be a test that tests something else. */
function readBody(body: unknown, fields: ReadonlySet<string>): Body {
  if (!isRecord(body)) throw new DuragentError('invalid_request', 'Send one JSON object.');
  const unknown = Object.keys(body).find((name) => !fields.has(name));
  if (unknown === undefined) return body;
  throw new DuragentError(
    'invalid_request',
    `${JSON.stringify(unknown)} is no field here; known are ${[...fields].sort().join(', ')}.`,
  );
}

function readEventId(said: Body): string {
  const id = said['event_id'] ?? `in_${randomUUID()}`;
  if (typeof id === 'string' && id.length >= 1 && id.length <= 200) return id;
  throw new DuragentError('invalid_request', 'event_id: takes 1 to 200 characters.');
}

/** `"ann"` is short for `{"id": "ann"}`; without a sender it is `user`. */
function readSender(said: Body): Record<string, unknown> {
  const sender = said['sender'] ?? 'user';
  const known = isRecord(sender) ? sender : { id: sender };
  return { ...known, ...(said['is_bot'] === undefined ? {} : { is_bot: said['is_bot'] }) };
}

function given(said: Body, name: string): Record<string, unknown> {
  return said[name] === undefined ? {} : { [name]: said[name] };
}

const MAX_FILES = 50;

interface FileBody {
  name: string;
  mime: string;
  bytes: Buffer;
}

/** Reads `media: [{name?, mime?, text | base64}]`. */
function readFiles(media: unknown): FileBody[] {
  if (media === undefined) return [];
  if (Array.isArray(media) && media.length <= MAX_FILES) return media.map(readFile);
  throw new DuragentError('invalid_request', `media: takes a list of at most ${MAX_FILES}.`);
}

function readFile(value: unknown): FileBody {
  const file = isRecord(value) ? value : {};
  const { name = 'file', mime = 'application/octet-stream', text, base64 } = file;
  if (typeof name !== 'string' || name.length > 255) throw refuseFile('name');
  if (typeof mime !== 'string' || mime.length > 255) throw refuseFile('mime');
  if (typeof text === 'string' && base64 === undefined) {
    return { name, mime, bytes: Buffer.from(text) };
  }
  if (typeof base64 === 'string' && text === undefined) {
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.toString('base64') === base64) return { name, mime, bytes };
  }
  throw new DuragentError('invalid_request', 'media: each file has either text or base64.');
}

/** Writes files below the server's folder, which takes them from there. */
async function saveFiles(files: readonly FileBody[], mediaDir: string): Promise<MediaFile[]> {
  const folder = await mkdtemp(path.join(mediaDir, 'loopback-'));
  return await Promise.all(
    files.map(async ({ name, mime, bytes }, index) => {
      // The name that a caller chose is told, and never used as a path.
      const file = path.join(folder, String(index + 1));
      await writeFile(file, bytes, { mode: 0o600, flag: 'wx' });
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return { path: file, name, mime, size: bytes.length, sha256 };
    }),
  );
}

function refuseFile(field: string): DuragentError {
  return new DuragentError('invalid_request', `media: ${field} takes at most 255 characters.`);
}

function refuse(
  issues: readonly { path: readonly PropertyKey[]; message: string }[],
): DuragentError {
  const [first] = issues;
  // What is under `content` and `routing` there is a field of its own here.
  const place = (first?.path ?? []).filter((part) => part !== 'content' && part !== 'routing');
  return new DuragentError('invalid_request', `${place.join('.')}: ${first?.message ?? 'invalid'}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
