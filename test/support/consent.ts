import type { ApprovalDecision, ApprovalView, QuestionView } from '@duragent/protocol';
import type { Api, Call, Reply } from './api.ts';
import { until } from './until.ts';

/** `agent.yaml` of an agent that answers with what it was told, and calls these tools when it is told to. */
export function toolAgent(tools: readonly string[], more = ''): string {
  return `model: echo\ntools: { builtin: [${tools.join(', ')}] }\n${more}`;
}

/** What makes such an agent call a tool. */
export function calling(tool: string, args: object): string {
  return `!${tool} ${JSON.stringify(args)}`;
}

/** What makes such an agent run a command. */
export function bash(command: string, more: object = {}): string {
  return calling('bash', { command, ...more });
}

/** What makes such an agent ask its people. */
export function asking(question: string, more: object = {}): string {
  return calling('ask_user', { question, ...more });
}

/** What waits in one session, in order. */
export async function approvalsOf(api: Api, session: string): Promise<ApprovalView[]> {
  const { body } = await api.get<{ approvals: ApprovalView[] }>('/approvals');
  return body.approvals.filter((one) => one.session === session);
}

/** What is asked in one session, in order. */
export async function questionsOf(api: Api, session: string): Promise<QuestionView[]> {
  const { body } = await api.get<{ questions: QuestionView[] }>('/questions');
  return body.questions.filter((one) => one.session === session);
}

/** Waits until an approval is open in a session; `other` than this one. */
export async function approvalIn(api: Api, session: string, other = ''): Promise<ApprovalView> {
  return required(
    await until('an approval is open', async () => {
      return (await approvalsOf(api, session)).find(({ approval }) => approval !== other);
    }),
  );
}

/** Waits until a question is open in a session. */
export async function questionIn(api: Api, session: string): Promise<QuestionView> {
  return required(
    await until('a question is open', async () => (await questionsOf(api, session))[0]),
  );
}

/** Decides an approval over HTTP. */
export async function decide(
  api: Api,
  { session, approval }: Pick<ApprovalView, 'session' | 'approval'>,
  decision: ApprovalDecision,
  call?: Call,
): Promise<Reply> {
  return await api.post(`/sessions/${session}/approvals/${approval}`, { decision }, call);
}

/** Answers a question over HTTP. */
export async function answer(
  api: Api,
  { session, question }: Pick<QuestionView, 'session' | 'question'>,
  text: string,
): Promise<Reply> {
  return await api.post(`/sessions/${session}/questions/${question}`, { answer: text });
}

/** Waits until nothing is under way in a session. */
export async function idle(api: Api, session: string): Promise<void> {
  await until('its turn has ended', async () => {
    return (await api.session(session)).turn_state === 'idle';
  });
}

function required<T>(found: T | undefined): T {
  if (found === undefined) throw new Error('nothing was found');
  return found;
}
