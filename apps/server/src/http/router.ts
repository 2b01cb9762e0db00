import Router from '@koa/router';
import { requireScope } from './auth.ts';
import type { HttpDeps, HttpState } from './context.ts';
import type { AddRoute } from './route.ts';
import { adminRoutes } from './routes/admin.ts';
import { accessRoutes } from './routes/access.ts';
import { agentRoutes } from './routes/agents.ts';
import { chatRoutes } from './routes/chats.ts';
import { consentRoutes } from './routes/consent.ts';
import { eventRoutes } from './routes/events.ts';
import { gatewayRoutes } from './routes/gateways.ts';
import { messageRoutes } from './routes/messages.ts';
import { outboxRoutes } from './routes/outbox.ts';
import { probeRoutes } from './routes/probes.ts';
import { scheduleRoutes } from './routes/schedules.ts';
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
  chatRoutes(add, deps);
  consentRoutes(add, deps);
  scheduleRoutes(add, deps);
  if (!deps.auth.adminEnabled) return router;
  adminRoutes(add, deps);
  gatewayRoutes(add, deps);
  outboxRoutes(add, deps);
  accessRoutes(add, deps);
  return router;
}
