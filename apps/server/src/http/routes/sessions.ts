import { createSessionSchema, deleteReasonSchema, sessionStatusSchema } from '@duragent/protocol';
import type { SessionView } from '@duragent/protocol';
import { readJson } from '../body.ts';
import type { HttpDeps } from '../context.ts';
import {
  callerOf,
  idempotencyKey,
  noBody,
  openSession,
  queryChoice,
  queryList,
  queryNumber,
  queryText,
  sessionId,
} from '../input.ts';
import { type AddRoute, sendJson, sendNothing } from '../route.ts';

const MAX_PAGE = 1000;

/** Sessions: make, list, show, cancel, pause and resume what they do, end, delete. */
export function sessionRoutes(add: AddRoute, deps: HttpDeps): void {
  const { sessions } = deps;

  add('POST', '/api/v1/sessions', 'chat', async (ctx) => {
    const key = idempotencyKey(ctx, 'sessions');
    const body = await readJson(ctx, createSessionSchema);
    const session = await sessions.create({
      agent: body.agent ?? deps.defaultAgent() ?? undefined,
      key: body.key,
      labels: body.labels,
      onDisconnect: body.on_disconnect,
      origin: { kind: body.origin ?? 'http' },
      idempotencyKey: key,
    });
    ctx.set('Location', `/api/v1/sessions/${session.session}`);
    sendJson(ctx, 201, session.view());
  });

  /** Newest first; `cursor` of the answer is what the next page is asked with, null at the end. */
  add('GET', '/api/v1/sessions', 'read', (ctx) => {
    const agent = queryText(ctx, 'agent');
    const status = queryChoice(ctx, 'status', sessionStatusSchema.options);
    const gateway = queryText(ctx, 'gateway');
    const labels = queryList(ctx, 'label');
    const cursor = queryText(ctx, 'cursor');
    const limit = queryNumber(ctx, 'limit', { min: 1, max: MAX_PAGE, fallback: 100 });
    // Ids sort by time, so a cursor holds also when its session has been deleted.
    const found = sessions
      .list()
      .filter(
        (view) =>
          (cursor === null || view.session < cursor) &&
          (agent === null || view.agent === agent) &&
          (status === null || view.status === status) &&
          (gateway === null || isOfGateway(view, gateway)) &&
          labels.every((label) => hasLabel(view, label)),
      );
    const page = found.slice(0, limit);
    const last = page.at(-1);
    sendJson(ctx, 200, {
      sessions: page,
      cursor: last && found.length > page.length ? last.session : null,
    });
  });

  add('GET', '/api/v1/sessions/:id', 'read', (ctx) => {
    sendJson(ctx, 200, sessions.view(sessionId(ctx)));
  });

  add('DELETE', '/api/v1/sessions/:id', 'admin', async (ctx) => {
    const id = sessionId(ctx);
    const isPurge = queryChoice(ctx, 'purge', ['true', 'false']) === 'true';
    const reason = queryChoice(ctx, 'reason', deleteReasonSchema.options) ?? 'operator';
    if (isPurge) await sessions.purge(id);
    else await sessions.end(id, reason);
    sendNothing(ctx);
  });

  /** Answers once the cancellation is durable; `turn` null: there was none to cancel. */
  add('POST', '/api/v1/sessions/:id/cancel', 'chat', async (ctx) => {
    sessions.view(sessionId(ctx));
    await readJson(ctx, noBody);
    const session = await openSession(ctx, sessions);
    sendJson(ctx, 202, await session.cancel());
  });

  /** Both answer once that is durable; a turn may work on until its next safe point. */
  for (const what of ['pause', 'resume'] as const) {
    add('POST', `/api/v1/sessions/:id/${what}`, 'chat', async (ctx) => {
      sessions.view(sessionId(ctx));
      await readJson(ctx, noBody);
      const session = await openSession(ctx, sessions);
      await session[what](callerOf(ctx));
      sendJson(ctx, 202, session.view());
    });
  }
}

/** Whether it is shown in a chat of a gateway, or was made for one. */
function isOfGateway({ chats, origin }: SessionView, gateway: string): boolean {
  return origin.chat?.gateway === gateway || chats.some((chat) => chat.gateway === gateway);
}

/** `name=value`, or `name` with any value. */
function hasLabel(view: SessionView, label: string): boolean {
  const at = label.indexOf('=');
  const name = at < 0 ? label : label.slice(0, at);
  if (!Object.hasOwn(view.labels, name)) return false;
  return at < 0 || view.labels[name] === label.slice(at + 1);
}
