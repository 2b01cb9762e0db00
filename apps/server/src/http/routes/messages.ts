import {
  DuragentError,
  isKnownEvent,
  type MessageAccepted,
  type PostMessage,
  postMessageSchema,
  type TextPart,
} from '@duragent/protocol';
import type { StoredRecord } from '../../ports/session-store.ts';
import { readJson } from '../body.ts';
import type { HttpDeps, OpenSession, RouteContext, Sessions } from '../context.ts';
import { idempotencyKey, openSession, queryNumber, sessionId } from '../input.ts';
import { type AddRoute, sendJson, sendJsonText } from '../route.ts';

/** What people mean by the messages of a session. */
const messageTypes: ReadonlySet<string> = new Set([
  'user_message',
  'assistant_message',
  'tool_finished',
]);
/** A page ends with the record that takes it over so many UTF-16 units. */
const MAX_PAGE_UNITS = 4 * 1024 * 1024;
/** Records of the log read at once. */
const CHUNK = 20;

/** Messages of a session: what was said, and saying something. */
export function messageRoutes(add: AddRoute, deps: HttpDeps): void {
  /** Newest first; `before` of the answer is what the next page is asked with, null at the beginning. */
  add('GET', '/api/v1/sessions/:id/messages', 'read', async (ctx) => {
    const session = await openSession(ctx, deps.sessions);
    const limit = queryNumber(ctx, 'limit', { min: 1, max: 500, fallback: 50 });
    const max = Number.MAX_SAFE_INTEGER;
    const before = queryNumber(ctx, 'before', { min: 1, max, fallback: null });
    const page = await readBack(session, before ?? session.lastSeq + 1, limit);
    const lines = page.records.map((record) => record.line).join(',');
    sendJsonText(ctx, 200, `{"messages":[${lines}],"before":${page.before ?? 'null'}}`);
  });

  add('POST', '/api/v1/sessions/:id/messages', 'chat', async (ctx) => {
    const { session, accepted, body } = await receiveMessage(ctx, deps.sessions, 'messages');
    if (body.wait) await answerWhenDone(ctx, session, accepted, deps);
    else sendJson(ctx, 202, accepted);
  });
}

/**
 * Reads the request's message and makes it durable. The session is opened behind the body, which
 * may take its time. @throws DuragentError invalid_request, and as `open` and `receive`.
 */
export async function receiveMessage(
  ctx: RouteContext,
  sessions: Sessions,
  route: string,
  schema: { safeParse: typeof postMessageSchema.safeParse } = postMessageSchema,
): Promise<{ session: OpenSession; accepted: MessageAccepted; body: PostMessage }> {
  const key = idempotencyKey(ctx, `${route} ${sessionId(ctx)}`);
  sessions.view(sessionId(ctx));
  const body = await readJson(ctx, schema);
  const handling = body.handling ?? 'turn';
  if (body.wait && handling !== 'turn') {
    const message = `Nothing answers a message with handling "${handling}"; leave wait out.`;
    throw new DuragentError('invalid_request', message, {
      details: { errors: [{ pointer: '/wait', message }] },
    });
  }
  const session = await openSession(ctx, sessions);
  const accepted = await session.receive({
    content: partsOf(body.content),
    handling,
    source: { kind: body.origin ?? 'http', ...(body.sender ? { sender: body.sender } : {}) },
    idempotencyKey: key,
  });
  return { session, accepted, body };
}

function partsOf(content: PostMessage['content']): TextPart[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}

/**
 * 200 with the answer when the turn has ended, or 202 with the turn after the request timeout.
 * The turn goes on in any case, also when the client leaves.
 */
async function answerWhenDone(
  ctx: RouteContext,
  session: OpenSession,
  accepted: MessageAccepted,
  deps: HttpDeps,
): Promise<void> {
  const { scope } = ctx.state;
  scope.unlimited();
  const timeout = new AbortController();
  const cancel = deps.clock.after(deps.limits.requestTimeoutMs, () => timeout.abort());
  try {
    const signal = AbortSignal.any([scope.signal, timeout.signal]);
    sendJson(ctx, 200, await session.answer(accepted, { signal }));
  } catch (error) {
    if (scope.isLeft || !timeout.signal.aborted) throw error;
    sendJson(ctx, 202, { ...accepted, turn: accepted.turn ?? (await turnOf(session, accepted)) });
  } finally {
    cancel();
  }
}

/** The turn that a message began, where it was not known yet when the message came. */
async function turnOf(session: OpenSession, accepted: MessageAccepted): Promise<string | null> {
  for (let after = accepted.seq; ;) {
    const records = await session.read(after, CHUNK);
    for (const { event } of records) {
      if (!isKnownEvent(event) || event.type !== 'turn_started') continue;
      if (event.trigger.includes(accepted.message_id)) return event.turn;
    }
    const last = records.at(-1);
    if (!last) return null;
    after = last.event.seq;
  }
}

/** All records behind `after` up to `last`, in as many reads as it takes. */
async function readRange(
  session: OpenSession,
  after: number,
  last: number,
): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  for (let at = after; at < last;) {
    const page = await session.read(at, last - at);
    if (page.length === 0) break;
    records.push(...page);
    at = page.at(-1)?.event.seq ?? last;
  }
  return records;
}

/** Messages before `before`, newest first, and where the next page goes on. */
async function readBack(
  session: OpenSession,
  before: number,
  limit: number,
): Promise<{ records: StoredRecord[]; before: number | null }> {
  const records: StoredRecord[] = [];
  let units = 0;
  let end = Math.min(before, session.lastSeq + 1);
  while (end > 1) {
    const after = Math.max(0, end - 1 - CHUNK);
    const chunk = await readRange(session, after, end - 1);
    for (const record of chunk.reverse()) {
      if (!messageTypes.has(record.event.type)) continue;
      records.push(record);
      units += record.line.length;
      if (records.length === limit || units > MAX_PAGE_UNITS) {
        return { records, before: record.event.seq > 1 ? record.event.seq : null };
      }
    }
    end = after + 1;
  }
  return { records, before: null };
}
