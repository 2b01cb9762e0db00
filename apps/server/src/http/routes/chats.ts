import { DuragentError, namePattern } from '@duragent/protocol';
import type { HttpDeps } from '../context.ts';
import { queryText } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** Which session a chat shows. */
export function chatRoutes(add: AddRoute, deps: HttpDeps): void {
  add('GET', '/api/v1/chats/:gateway/:chat_id', 'read', (ctx) => {
    const { gateway = '', chat_id = '' } = ctx.params;
    const thread = queryText(ctx, 'thread');
    const chat = { gateway, chat_id, ...(thread === null ? {} : { thread_id: thread }) };
    const session = namePattern.test(gateway) ? deps.gateways.sessionOf(chat) : null;
    if (session === null || deps.sessions.view(session).status === 'ended') {
      throw new DuragentError(
        'not_found',
        'This chat shows no session; the first message in it makes one.',
      );
    }
    sendJson(ctx, 200, { session });
  });
}
