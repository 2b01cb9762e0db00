import { DuragentError, idPattern } from '@duragent/protocol';
import { readJson } from '../body.ts';
import type { HttpDeps, RouteContext } from '../context.ts';
import { noBody, queryNumber, querySession, queryText } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

const MAX_PAGE = 1000;
const outPattern = idPattern('out');

/** What is owed to chats, and what died. */
export function outboxRoutes(add: AddRoute, deps: HttpDeps): void {
  const { outbox } = deps;

  /** By session, newest first; `cursor` of the answer is what the next page is asked with, null at the end. */
  add('GET', '/api/v1/admin/outbox', 'admin', async (ctx) => {
    const page = await outbox.list({
      session: querySession(ctx, 'session'),
      gateway: queryText(ctx, 'gateway') ?? undefined,
      cursor: querySession(ctx, 'cursor'),
      limit: queryNumber(ctx, 'limit', { min: 1, max: MAX_PAGE, fallback: 100 }),
    });
    sendJson(ctx, 200, page);
  });

  /** Answers once it is durable that the delivery is owed again. */
  add('POST', '/api/v1/admin/outbox/:out/retry', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    const out = outOf(ctx);
    const session = await deps.outbox.retry(out, querySession(ctx, 'session'));
    sendJson(ctx, 202, { out, session });
  });

  add('POST', '/api/v1/admin/outbox/:out/drop', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    const out = outOf(ctx);
    const session = await deps.outbox.drop(out, querySession(ctx, 'session'));
    sendJson(ctx, 200, { out, session });
  });
}

/** The delivery of the path. @throws DuragentError not_found for what is no id. */
function outOf(ctx: RouteContext): string {
  const out = ctx.params['out'] ?? '';
  if (outPattern.test(out)) return out;
  throw new DuragentError(
    'not_found',
    'There is no such delivery; ids look like out_ and 26 letters and digits (duragent outbox list).',
  );
}
