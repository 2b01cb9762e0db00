import { type AccessList, DuragentError } from '@duragent/protocol';
import { readJson } from '../body.ts';
import type { HttpDeps } from '../context.ts';
import { agentName, noBody } from '../input.ts';
import { type AddRoute, sendJson, sendNothing } from '../route.ts';

/** Whoever lets somebody in over HTTP, as access.yaml names them. */
const BY = 'cli';

/** Who was let in to speak with agents, and who asks to be. */
export function accessRoutes(add: AddRoute, deps: HttpDeps): void {
  add('GET', '/api/v1/admin/access', 'admin', async (ctx) => {
    const { pairings, requests } = await deps.gateways.pairing.book();
    const isOpen = ({ expires_at }: { expires_at: string }): boolean =>
      Date.parse(expires_at) > deps.clock.now();
    const list: AccessList = {
      pairings,
      requests: requests.filter(isOpen).map(withoutChat),
    };
    sendJson(ctx, 200, list);
  });

  /** Lets in whoever was given the code, and tells them. */
  add('POST', '/api/v1/admin/access/approve/:code', 'admin', async (ctx) => {
    await readJson(ctx, noBody);
    const code = ctx.params['code'] ?? '';
    const approved = await deps.gateways.pairing.approve(code, { agent: null, by: BY });
    if (!approved) {
      throw new DuragentError(
        'not_found',
        'No open request has this code: it may be over an hour old, or used. duragent access list shows those that are open.',
      );
    }
    deps.gateways.welcome(approved.request.chat);
    sendJson(ctx, 200, approved.pairing);
  });

  /** Shuts somebody out again; a request of theirs is void too. */
  add('DELETE', '/api/v1/admin/access/:name/:sender', 'admin', async (ctx) => {
    const who = { agent: agentName(ctx), sender: ctx.params['sender'] ?? '' };
    const { requests } = await deps.gateways.pairing.book();
    const asks = requests.some((one) => one.agent === who.agent && one.sender === who.sender);
    if (!(await deps.gateways.pairing.revoke(who)) && !asks) {
      throw new DuragentError(
        'not_found',
        `Nobody was let in to ${who.agent} as ${who.sender.slice(0, 200)}; duragent access list shows who was. What agent.yaml allows is changed there.`,
      );
    }
    sendNothing(ctx);
  });
}

type Request = Awaited<ReturnType<HttpDeps['gateways']['pairing']['book']>>['requests'][number];

/** A request as it is listed: where the stranger is told is the server's own. */
function withoutChat(request: Request): AccessList['requests'][number] {
  const { code, agent, sender, name, expires_at } = request;
  return { code, agent, sender, name, expires_at };
}
