import {
  type ApprovalDecision,
  type ApprovalView,
  type ChatAddress,
  DuragentError,
  type EventOf,
  isKnownEvent,
  type QuestionView,
} from '@duragent/protocol';
import { mayApprove } from '../core/approvers.ts';
import { decidedCard } from '../core/session/cards.ts';
import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { Agent } from '../core/agent.ts';
import { isSameChat } from '../core/session/chat-key.ts';
import type { Logger } from './logger.ts';
import { newestFirst } from './newest-first.ts';
import type { SessionActor } from './session-actor.ts';
import type { SessionRegistry } from './session-registry.ts';

/** Records behind the newest that are looked through for what became of something. */
const SEARCHED = 2000;

type Request = EventOf<'approval_requested'>;
type Question = EventOf<'question_asked'>;

/** Adds a rule to what an agent may do. */
type AllowAlways = (agent: Agent, rule: string) => Promise<void>;

/** A person of a chat who decides or answers there. */
export interface ChatDecider {
  /** `<gateway>:<id>` */
  by: string;
  chat: ChatAddress;
  isDirect: boolean;
}

/** What waits for people, over all sessions, and what they say to it. */
export class ConsentDesk {
  readonly #sessions: SessionRegistry;
  readonly #agents: AgentCatalog;
  readonly #allowAlways: AllowAlways;
  readonly #log: Logger;

  constructor(deps: {
    sessions: SessionRegistry;
    agents: AgentCatalog;
    allowAlways: AllowAlways;
    log: Logger;
  }) {
    this.#sessions = deps.sessions;
    this.#agents = deps.agents;
    this.#allowAlways = deps.allowAlways;
    this.#log = deps.log;
  }

  /** The open approvals, oldest first. */
  async approvals(): Promise<ApprovalView[]> {
    const views: ApprovalView[] = [];
    for await (const { actor, event } of this.#open()) {
      if (event.type === 'approval_requested') views.push(approvalView(actor, event));
    }
    return views.sort((a, b) => (a.requested_at < b.requested_at ? -1 : 1));
  }

  /** The open questions, oldest first. */
  async questions(): Promise<QuestionView[]> {
    const views: QuestionView[] = [];
    for await (const { actor, event } of this.#open()) {
      if (event.type === 'question_asked') views.push(questionView(actor, event));
    }
    return views.sort((a, b) => (a.asked_at < b.asked_at ? -1 : 1));
  }

  /**
   * Decides an approval for a caller who may decide any.
   * @throws DuragentError not_found; conflict where it is no longer open, or not offered so.
   */
  async decide(
    session: string,
    approval: string,
    decision: ApprovalDecision,
    by: string,
  ): Promise<void> {
    const actor = await this.#sessions.open(session);
    const request = await this.#request(actor, approval);
    await this.#decide(actor, request, decision, by);
  }

  /**
   * Decides an approval for a person of a chat: one who may, as the agent says now, and there where
   * the whole of it was shown. @returns its session, and what its cards say from then on.
   * @throws DuragentError not_found, forbidden, conflict.
   */
  async decideInChat(
    approval: string,
    decision: ApprovalDecision,
    { by, chat, isDirect }: ChatDecider,
  ): Promise<{ session: string; card: string }> {
    const { actor, request } = await this.#findRequest(approval);
    const agent = await this.#agents.get(actor.agent);
    if (!agent || !mayApprove(agent.access, { by, requester: request.requester })) {
      throw new DuragentError('forbidden', 'You may not decide this (access.approvers).');
    }
    if (decision !== 'deny') {
      const card = request.deliveries.find((one) => isSameChat(one, chat));
      const offered = card?.keyboard?.flat().some(({ data }) => data === `/approve ${approval}`);
      if (offered !== true) {
        throw new DuragentError(
          'forbidden',
          'The whole of it was not shown in this chat, so it cannot be allowed here; look at it in a terminal (duragent approvals).',
        );
      }
    }
    if (decision === 'allow_always' && !agent.access.owners.includes(by)) {
      throw new DuragentError('forbidden', 'Only an owner may allow it always.');
    }
    if (decision === 'allow_always' && !isDirect) {
      throw new DuragentError('forbidden', 'In a group it can be allowed once, not always.');
    }
    await this.#decide(actor, request, decision, by);
    const { session } = actor;
    return { session, card: decidedCard(request.tool, decision, by, session) };
  }

  /** What the cards of something say that is no longer asked in a session; null: not known. */
  async cardOf(session: string, id: string): Promise<string | null> {
    const actor = await this.#sessions.open(session);
    const { lastSeq } = actor;
    for await (const { event } of newestFirst(actor)) {
      if (event.seq <= lastSeq - SEARCHED) return null;
      if (!isKnownEvent(event) || idOf(event) !== id) continue;
      if (event.type !== 'approval_decided' && event.type !== 'question_answered') continue;
      const [part] = event.deliveries?.[0]?.parts ?? [];
      return part && !('file' in part) ? part.prefix : null;
    }
    return null;
  }

  /**
   * Answers a question. `answer` is a text, or the number of a choice.
   * @throws DuragentError not_found, conflict, invalid_request for what is none of its choices.
   */
  async answer(
    session: string,
    question: string,
    answer: string,
    by: string,
    { numbered = false } = {},
  ): Promise<string> {
    const actor = await this.#sessions.open(session);
    const asked = await this.#question(actor, question);
    const text = choiceOf(asked, answer, numbered);
    if (await actor.answerQuestion(question, text, by)) return text;
    throw notOpen(question);
  }

  async #decide(
    actor: SessionActor,
    request: Request,
    decision: ApprovalDecision,
    by: string,
  ): Promise<void> {
    const { approval, always } = request;
    if (decision === 'allow_always' && always === null) {
      throw new DuragentError('conflict', 'This can be allowed once only: no rule would hold it.');
    }
    if (!(await actor.decideApproval(approval, decision, by))) throw notOpen(approval);
    if (decision !== 'allow_always' || always === null) return;
    const agent = await this.#agents.get(actor.agent);
    // It holds for this call whatever becomes of the rule; a rule before it could outlive a denial.
    try {
      if (agent) await this.#allowAlways(agent, always);
    } catch (error) {
      const why = error instanceof DuragentError ? error.message : 'see the log';
      throw new DuragentError('conflict', `Allowed once; the rule ${always} was not kept: ${why}`, {
        cause: error,
      });
    }
    this.#log.info({ session: actor.session, agent: actor.agent, rule: always, by }, 'rule added');
  }

  async #findRequest(approval: string): Promise<{ actor: SessionActor; request: Request }> {
    for await (const { actor, event } of this.#open()) {
      if (event.type === 'approval_requested' && event.approval === approval) {
        return { actor, request: event };
      }
    }
    throw notOpen(approval);
  }

  async #request(actor: SessionActor, approval: string): Promise<Request> {
    const event = await this.#asked(actor, approval);
    if (event.type === 'approval_requested') return event;
    throw notOpen(approval);
  }

  async #question(actor: SessionActor, question: string): Promise<Question> {
    const event = await this.#asked(actor, question);
    if (event.type === 'question_asked') return event;
    throw notOpen(question);
  }

  /** The record that asks. @throws DuragentError not_found, or conflict where it is no longer open. */
  async #asked(actor: SessionActor, id: string): Promise<Request | Question> {
    const open = actor.asked.find((one) => one.id === id);
    const event = open && (await recordOf(actor, open.seq));
    if (event) return event;
    if (await hasAsked(actor, id)) throw notOpen(id);
    throw new DuragentError(
      'not_found',
      `This session has asked nothing named ${id.slice(0, 60)}.`,
    );
  }

  async *#open(): AsyncGenerator<{ actor: SessionActor; event: Request | Question }> {
    for (const { session, asked } of this.#sessions.summaries()) {
      if (asked === 0) continue;
      const actor = await this.#openIfReadable(session);
      for (const { seq } of actor?.asked ?? []) {
        const event = actor && (await recordOf(actor, seq));
        if (actor && event) yield { actor, event };
      }
    }
  }

  async #openIfReadable(session: string): Promise<SessionActor | null> {
    try {
      return await this.#sessions.open(session);
    } catch (error) {
      if (error instanceof DuragentError && error.code !== 'draining') return null;
      throw error;
    }
  }
}

/** Whether a session has ever asked this. */
async function hasAsked(actor: SessionActor, id: string): Promise<boolean> {
  for await (const { event } of newestFirst(actor)) if (idOf(event) === id) return true;
  return false;
}

async function recordOf(actor: SessionActor, seq: number): Promise<Request | Question | null> {
  const [record] = await actor.read(seq - 1, 1);
  const event = record?.event;
  if (!event || event.seq !== seq || !isKnownEvent(event)) return null;
  return event.type === 'approval_requested' || event.type === 'question_asked' ? event : null;
}

function idOf(event: { type: string; approval?: unknown; question?: unknown }): unknown {
  return event.approval ?? event.question;
}

/** The text of an answer: of a question with choices, the one with this text or number. */
function choiceOf({ choices }: Question, answer: string, numbered: boolean): string {
  if (!choices) return answer;
  const [said, nth] = [choices.find((choice) => choice === answer), choices[Number(answer) - 1]];
  const chosen = numbered ? (nth ?? said) : (said ?? nth);
  if (chosen !== undefined) return chosen;
  const known = choices.map((choice, i) => `${i + 1}. ${choice}`).join(', ');
  throw new DuragentError('invalid_request', `The answer is one of: ${known}.`);
}

function notOpen(id: string): DuragentError {
  return new DuragentError(
    'conflict',
    `${id.slice(0, 60)} is no longer open: somebody has spoken already, its time is over, or its turn has ended.`,
  );
}

function approvalView({ session, agent }: SessionActor, event: Request): ApprovalView {
  const { approval, turn, call, tool, shown, command, reason, requester, always } = event;
  return {
    approval,
    session,
    agent,
    turn,
    call,
    tool,
    shown,
    ...(command ? { command } : {}),
    reason,
    ...(requester === undefined ? {} : { requester }),
    always,
    requested_at: event.at,
    expires_at: event.expires_at,
  };
}

function questionView({ session, agent }: SessionActor, event: Question): QuestionView {
  const { question, turn, call, text, choices } = event;
  return {
    question,
    session,
    agent,
    turn,
    call,
    text,
    ...(choices ? { choices } : {}),
    ...(event.default === undefined ? {} : { default: event.default }),
    asked_at: event.at,
    expires_at: event.expires_at,
  };
}
