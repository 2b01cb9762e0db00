import { readJson } from '../body.ts';
import type { HttpDeps } from '../context.ts';
import { noBody } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** What operators do to the server itself. */
export function adminRoutes(add: AddRoute, deps: HttpDeps): void {
  add('POST', '/api/v1/admin/shutdown', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    sendJson(ctx, 202, { status: 'stopping' });
    ctx.res.once('close', deps.onShutdown);
  });

  /** Answers when what changed holds: gateways that were stopped have ended. */
  add('POST', '/api/v1/admin/reload', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    sendJson(ctx, 200, await deps.reload());
  });
}
