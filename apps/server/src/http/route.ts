import type { Scope } from './auth.ts';
import type { RouteContext } from './context.ts';

export type Handler = (ctx: RouteContext) => void | Promise<void>;

/** Adds a route. `scope` null: public. */
export type AddRoute = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  scope: Scope | null,
  handler: Handler,
) => void;

/** Answers with JSON. */
export function sendJson(ctx: RouteContext, status: number, value: unknown): void {
  sendJsonText(ctx, status, JSON.stringify(value));
}

/** Answers with text that is JSON already. */
export function sendJsonText(ctx: RouteContext, status: number, text: string): void {
  if (ctx.state.scope.isExpired) return;
  ctx.status = status;
  ctx.res.setHeader('Content-Type', 'application/json; charset=utf-8');
  ctx.body = text;
}

/** Answers 204. */
export function sendNothing(ctx: RouteContext): void {
  if (!ctx.state.scope.isExpired) ctx.status = 204;
}
