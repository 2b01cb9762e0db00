import { type ApprovalDecision, visible } from '@duragent/protocol';
import { chatKey } from './chat-key.ts';
import { deliveryTo } from './deliveries.ts';
import { outId } from './derived-id.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import type { Chat, OpenCall, SessionState } from './state.ts';

/** How much of an answer, and of whoever decided, a card shows, in UTF-16 units. */
const MAX_ANSWER = 200;
const MAX_BY = 100;

/**
 * A fact that ends what people were asked, with what the cards of it say from then on, in every chat
 * that shows one: their buttons go. A card that is still being sent is edited once it is there.
 */
export function closingCards(
  state: SessionState,
  fact: Facts[number],
  rules: Rules,
): Facts[number] {
  if (!endsAsking(fact) || fact.turn !== state.turn?.turn) return fact;
  const call = state.turn.calls.find((one) => one.call === fact.call);
  if (call?.status !== 'asked') return fact;
  const text = textOf(state, call, fact, rules);
  const deliveries = cardsOf(state, call).map(({ out, chat, message }) => {
    const parts = [{ prefix: text, from: 0, to: 0, suffix: '' }];
    const edit = outId(call.call, `edit/${out}/${chatKey(chat)}`);
    const delivery = deliveryTo(chat, parts, rules, { out: edit, format: 'text' });
    return { ...delivery, edits: { out, ...(message === undefined ? {} : { message }) } };
  });
  return deliveries.length === 0 ? fact : { ...fact, deliveries };
}

type End = Extract<
  Facts[number],
  { type: 'approval_decided' | 'question_answered' | 'tool_finished' }
>;

function endsAsking(fact: Facts[number]): fact is End {
  const { type } = fact;
  return type === 'approval_decided' || type === 'question_answered' || type === 'tool_finished';
}

/** What became of what people were asked. */
function textOf({ session }: SessionState, call: OpenCall, fact: End, { calls }: Rules): string {
  const tool = calls.find((one) => one.call === call.call)?.name ?? 'a tool';
  switch (fact.type) {
    case 'approval_decided':
      return decidedCard(tool, fact.decision, fact.by, session);
    case 'question_answered':
      return answeredCard(fact.answer, fact.by, session);
    case 'tool_finished': {
      const sign = call.approval ? `🔐 ${visible(tool)}:` : '❓';
      return `${sign} No longer asked, the turn was stopped. ${session}`;
    }
  }
}

/** What the card of an approval says when it was decided. */
export function decidedCard(
  tool: string,
  decision: ApprovalDecision | 'expire',
  by: string,
  session: string,
): string {
  const who = decision === 'expire' ? '' : ` (${visible(by).slice(0, MAX_BY)})`;
  return `🔐 ${visible(tool)}: ${decisionWords[decision]}${who}. ${session}`;
}

const decisionWords: Readonly<Record<ApprovalDecision | 'expire', string>> = {
  allow_once: 'Allowed once',
  allow_always: 'Allowed, always',
  deny: 'Denied',
  expire: 'Nobody allowed it in time',
};

/** What the card of a question says when it was answered, or its time was over. */
export function answeredCard(answer: string | null, by: string, session: string): string {
  const said = answer === null ? '' : visible(answer).slice(0, MAX_ANSWER).toWellFormed();
  if (by !== 'server') return `❓ Answered: ${said} (${visible(by).slice(0, MAX_BY)}). ${session}`;
  const holds = answer === null ? '' : ` ${said} holds.`;
  return `❓ Nobody answered in time.${holds} ${session}`;
}

interface ShownCard {
  /** The delivery that showed it. */
  out: string;
  chat: Chat;
  /** Its message; absent: it is not there yet. */
  message?: string;
}

/** The cards that ask about a call: those that are shown, and those that still will be. */
function cardsOf({ chats, deliveries }: SessionState, call: OpenCall): ShownCard[] {
  const inChat = (since: number, card: Omit<ShownCard, 'chat'>): ShownCard[] => {
    const chat = chats.find((one) => one.since === since);
    return chat ? [{ ...card, chat }] : [];
  };
  const coming = deliveries.filter(
    ({ seq, card, part }) => seq === call.seq && card !== undefined && part <= card,
  );
  return [
    ...(call.cards ?? []).flatMap(({ out, chat, message }) => inChat(chat, { out, message })),
    ...coming.flatMap(({ out, chat }) => inChat(chat, { out })),
  ];
}
