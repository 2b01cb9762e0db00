import Router from '@koa/router';
import { requireScope } from './auth.ts';
import type { HttpDeps, HttpState } from './context.ts';
import type { AddRoute } from './route.ts';
import { adminRoutes } from './routes/admin.ts';
import { agentRoutes } from './routes/agents.ts';
import { eventRoutes } from './routes/events.ts';
import { messageRoutes } from './routes/messages.ts';
import { probeRoutes } from './routes/probes.ts';
import { sessionRoutes } from './routes/sessions.ts';
import { streamRoutes } from './routes/stream.ts';

/** All routes. A path means one thing: case and a trailing slash count. */
export function createRouter(deps: HttpDeps): Router<HttpState> {
  const router = new Router<HttpState>({ sensitive: true, strict: true });
  const add: AddRoute = (method, path, scope, handler) => {
    router.register(path, [method], (ctx) => {
      if (scope !== null) requireScope(ctx.state.scope.caller, scope);
      return handler(ctx);
    });
  };
  probeRoutes(add, deps);
  agentRoutes(add, deps);
  sessionRoutes(add, deps);
  messageRoutes(add, deps);
  streamRoutes(add, deps);
  eventRoutes(add, deps);
  if (deps.auth.adminEnabled) adminRoutes(add, deps);
  return router;
}
