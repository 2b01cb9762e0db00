import { randomUUID } from 'node:crypto';
import Koa from 'koa';
import { DuragentError } from '@duragent/protocol';
import { Authenticator } from './auth.ts';
import { isBodyOpen, lingering } from './body.ts';
import type { HttpContext, HttpDeps, HttpState } from './context.ts';
import { createHostCheck } from './host-check.ts';
import { problemOf } from './problem.ts';
import { ClientLeft, RequestScope } from './request-scope.ts';
import { createRouter } from './router.ts';

const publicPaths: ReadonlySet<string> = new Set(['/livez', '/readyz', '/health', '/version']);
const REQUEST_ID = /^[\w-]{1,64}$/;
/** A path and query of visible ASCII: what else a request line may hold names nothing here. */
const TARGET = /^\/[\x21\x22\x24-\x7e]*$/;

/** Errors of a connection whose client has gone: expected, and told to nobody. */
const leftCodes: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_DESTROYED',
  'ABORT_ERR',
]);

/**
 * The HTTP API. Every request is checked in this order: the target, the Host and the site it
 * comes from, the token, the route, its scope, its input. Every error is answered as
 * `application/problem+json` by the table in `problem.ts`.
 */
export function createApp(deps: HttpDeps): Koa {
  const app = new Koa<HttpState>();
  const checkHost = createHostCheck(deps.hosts);
  const authenticator = new Authenticator(deps.auth, deps.clock);
  app.use(async (ctx, next) => {
    const { req, res } = ctx;
    const scope = openScope(ctx, deps);
    ctx.state.scope = scope;
    const onLate = (error: unknown): void => {
      if (error instanceof ClientLeft) return;
      deps.logger.error(
        { err: error, request_id: scope.id },
        'request failed after its time was up',
      );
    };
    try {
      checkTarget(req.url ?? '');
      checkHost(req);
      if (!publicPaths.has(ctx.path)) scope.caller = authenticator.authenticate(req);
      await scope.run(next, { clock: deps.clock, ms: deps.limits.requestTimeoutMs, onLate });
    } catch (error) {
      if (scope.isLeft || error instanceof ClientLeft) res.destroy();
      else answerProblem(ctx, error, deps);
    }
  });
  app.use(createRouter(deps).routes());
  app.use(refuseUnmatched);
  app.on('error', (error: Error & { code?: unknown }, ctx?: HttpContext) => {
    if (leftCodes.has(error.code)) return;
    deps.logger.error({ err: error, request_id: ctx?.state.scope?.id }, 'response failed');
  });
  return app;
}

/** Names the request, and writes its access line when its response has been closed. */
function openScope({ req, res }: HttpContext, { clock, logger }: HttpDeps): RequestScope {
  const startedAt = clock.monotonic();
  const given = req.headers['x-request-id'];
  const id = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
  res.setHeader('X-Request-ID', id);
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.once('close', () => {
    const [path = ''] = (req.url ?? '').split('?', 1);
    const fields = {
      method: req.method,
      path: path.slice(0, 256),
      status: res.headersSent ? res.statusCode : null,
      ms: Math.round(clock.monotonic() - startedAt),
      request_id: id,
    };
    logger.info(fields, 'request');
  });
  return new RequestScope(id, res);
}

/** @throws DuragentError invalid_request for a target that is no path of visible ASCII, or does not decode. */
function checkTarget(url: string): void {
  if (TARGET.test(url)) {
    const path = url.split('?', 1)[0] ?? '';
    if (!path.includes('%') || isDecodable(path)) return;
  }
  throw new DuragentError(
    'invalid_request',
    'The request target has to be a path of this server, percent-encoded as UTF-8.',
  );
}

function isDecodable(path: string): boolean {
  try {
    return decodeURIComponent(path) !== '';
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/** Reached when no route has the path, or none its method. */
function refuseUnmatched(ctx: HttpContext): void {
  const matched = (ctx as { matched?: { methods: string[] }[] }).matched ?? [];
  if (matched.length === 0) {
    throw new DuragentError(
      'not_found',
      'There is nothing at this path; see PROTOCOL.md for the routes.',
    );
  }
  const allow = [...new Set([...matched.flatMap((route) => route.methods), 'OPTIONS'])];
  if (ctx.method === 'OPTIONS') {
    ctx.status = 204;
    ctx.set('Allow', allow.join(', '));
    return;
  }
  throw new DuragentError('method_not_allowed', `Only ${allow.join(', ')} exist here.`, {
    details: { allow },
  });
}

function answerProblem(ctx: HttpContext, error: unknown, deps: HttpDeps): void {
  const { req, res, state } = ctx;
  const { status, headers, body, isInternal } = problemOf(error, state.scope.id);
  if (isInternal) {
    deps.logger.error({ err: error, request_id: state.scope.id }, 'request failed');
  }
  if (res.headersSent) {
    res.destroy();
    return;
  }
  ctx.status = status;
  ctx.set({ ...headers, 'Content-Type': 'application/problem+json' });
  const text = JSON.stringify(body);
  if (!isBodyOpen(req)) {
    ctx.body = text;
    return;
  }
  ctx.set({ Connection: 'close', 'Content-Length': String(Buffer.byteLength(text)) });
  ctx.body = lingering(text, req, deps.clock);
}
