import {
  answerQuestionSchema,
  decideApprovalSchema,
  DuragentError,
  idPattern,
} from '@duragent/protocol';
import { readJson } from '../body.ts';
import type { HttpDeps, RouteContext } from '../context.ts';
import { callerOf, sessionId } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** Approvals and questions: what waits anywhere, and what people say to it. */
export function consentRoutes(add: AddRoute, { consent }: HttpDeps): void {
  add('GET', '/api/v1/approvals', 'read', async (ctx) => {
    sendJson(ctx, 200, { approvals: await consent.approvals() });
  });

  add('GET', '/api/v1/questions', 'read', async (ctx) => {
    sendJson(ctx, 200, { questions: await consent.questions() });
  });

  /** Answers once the decision is durable; a second one gets 409. */
  add('POST', '/api/v1/sessions/:id/approvals/:approval', 'approve', async (ctx) => {
    const { decision } = await readJson(ctx, decideApprovalSchema);
    const approval = idOf(ctx, 'approval', 'appr');
    await consent.decide(sessionId(ctx), approval, decision, callerOf(ctx));
    sendJson(ctx, 200, { approval, decision });
  });

  /** Answers once it is durable; a second one gets 409. */
  add('POST', '/api/v1/sessions/:id/questions/:question', 'chat', async (ctx) => {
    const body = await readJson(ctx, answerQuestionSchema);
    const question = idOf(ctx, 'question', 'q');
    const answer = await consent.answer(sessionId(ctx), question, body.answer, callerOf(ctx));
    sendJson(ctx, 200, { question, answer });
  });
}

/** An id of the path. @throws DuragentError not_found for what is none. */
function idOf(ctx: RouteContext, name: string, kind: 'appr' | 'q'): string {
  const id = ctx.params[name] ?? '';
  if (idPattern(kind).test(id)) return id;
  const what = kind === 'appr' ? 'approval' : 'question';
  throw new DuragentError(
    'not_found',
    `There is no such ${what}; ids look like ${kind}_ and 26 letters and digits (duragent ${what}s).`,
  );
}
