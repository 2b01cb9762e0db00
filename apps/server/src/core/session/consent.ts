import type { Delivery, InlineKeyboard } from '@duragent/protocol';
import { chatKey } from './chat-key.ts';
import { deliveriesTo, deliveryTo, heardIn, textParts } from './deliveries.ts';
import { derivedId, outId } from './derived-id.ts';
import { mayBegin } from './evolve-calls.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import type { SessionInput } from './session-input.ts';
import { type Spoken, spokenText } from './spoken-text.ts';
import type { Chat, OpenCall, OpenTurn, SessionState } from './state.ts';
import { startCall } from './tool-calls.ts';

type Judged = Extract<SessionInput, { type: 'call_judged' }>;
type Verdict<K> = Extract<Judged['verdict'], { kind: K }>;

/** What the policy's word about a call leads to. */
export function judgeCall(state: SessionState, input: Judged, rules: Rules): Facts {
  const { turn } = state;
  const call = turn?.calls.find((one) => one.call === input.call);
  if (!turn || turn.turn !== input.turn || turn.paused || !call) return [];
  // An operator holds the session: the policy is asked again when it goes on.
  if (state.pausedBy !== null) return [];
  if (call.status !== 'proposed' || !mayBegin(turn, call)) return [];
  const { verdict } = input;
  switch (verdict.kind) {
    case 'run': {
      const started = startCall(turn, call, verdict.hash, rules);
      return [...tell(state, call, verdict.notify, rules), started];
    }
    case 'refuse': {
      const { outcome, content, notify = null } = verdict;
      const fact = { type: 'tool_finished' as const, turn: turn.turn, call: call.call };
      const refused: Facts[number] = { ...fact, outcome, content, details: {} };
      return [...tell(state, call, notify, rules), refused];
    }
    case 'approve':
      return [requestApproval(state, turn, call, verdict, rules)];
    case 'ask':
      return [askQuestion(state, turn, call, verdict, rules)];
  }
}

/** What people say to an approval; nothing where it is no longer open, or not offered so. */
export function decideApproval(
  state: SessionState,
  { approval, decision, by }: Extract<SessionInput, { type: 'decide_approval' }>,
  rules: Rules,
): Facts {
  const call = openApproval(state, approval);
  if (!state.turn || !call?.approval) return [];
  if (decision === 'allow_always' && !call.approval.always) return [];
  const { expires_at } = call.approval;
  if (expires_at !== null && Date.parse(expires_at) <= rules.now) return [];
  const { turn } = state.turn;
  return [{ type: 'approval_decided', turn, call: call.call, approval, decision, by }];
}

/** An answer to a question; nothing where it is no longer open, or is none of its choices. */
export function answerQuestion(
  state: SessionState,
  input: Extract<SessionInput, { type: 'answer_question' }>,
  rules: Rules,
): Facts {
  const call = openQuestion(state, input.question);
  if (!state.turn || !call?.question) return [];
  const { expires_at } = call.question;
  if (expires_at !== null && Date.parse(expires_at) <= rules.now) return [];
  const { question, answer, by } = input;
  const { turn } = state.turn;
  return [{ type: 'question_answered', turn, call: call.call, question, answer, by }];
}

/** The end of an approval's or a question's time. */
export function expireConsent(
  state: SessionState,
  { id }: Extract<SessionInput, { type: 'expire' }>,
  rules: Rules,
): Facts {
  const call = openApproval(state, id) ?? openQuestion(state, id);
  const expires_at = call?.approval?.expires_at ?? call?.question?.expires_at;
  // The clock was set back meanwhile: it is waited for again.
  if (!state.turn || !call || expires_at == null || Date.parse(expires_at) > rules.now) return [];
  const fact = { turn: state.turn.turn, call: call.call, by: 'server' };
  return call.approval
    ? [{ type: 'approval_decided', ...fact, approval: id, decision: 'expire' }]
    : [
        {
          type: 'question_answered',
          ...fact,
          question: id,
          answer: rules.defaults.get(call.call) ?? null,
        },
      ];
}

/** The call whose approval is open. */
function openApproval({ turn }: SessionState, approval: string): OpenCall | undefined {
  return turn?.calls.find(
    (call) => call.status === 'asked' && call.approval?.approval === approval,
  );
}

/** The call whose question is open. */
function openQuestion({ turn }: SessionState, question: string): OpenCall | undefined {
  return turn?.calls.find(
    (call) => call.status === 'asked' && call.question?.question === question,
  );
}

/** The first open question that any text answers. */
export function freeQuestion({ turn }: SessionState): OpenCall | undefined {
  return turn?.calls.find((call) => call.status === 'asked' && call.question?.choices === 0);
}

/** A call that the policy wants people to know of; nothing where they do, and the log was cut behind that. */
function tell(state: SessionState, call: OpenCall, text: string | null, rules: Rules): Facts {
  if (text === null || call.told) return [];
  const deliveries = deliveriesTo(heardIn(state), { text, format: 'text' }, rules, {
    out: (chat) => outId(call.call, `notify/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, call: call.call, deliveries }];
}

function requestApproval(
  state: SessionState,
  turn: OpenTurn,
  call: OpenCall,
  verdict: Verdict<'approve'>,
  rules: Rules,
): Facts[number] {
  const { tool, shown, command, hash, reason, always, file } = verdict;
  const asks = call.asks ?? 0;
  const request = {
    type: 'approval_requested' as const,
    turn: turn.turn,
    call: call.call,
    approval: derivedId('appr', call.call, `${asks}`),
    tool,
    shown,
    ...(command ? { command } : {}),
    hash,
    reason,
    ...(rules.requester === null ? {} : { requester: rules.requester }),
    always,
    expires_at: expiryOf(rules.approvalTimeoutMs || null, rules),
    deliveries: [],
  };
  const deliveries = heardIn(state).map((chat) => {
    const out = outId(call.call, `approval/${asks}/${chatKey(chat)}`);
    return approvalCard(request, chat, file, rules, { out, replyTo: turn.replyTo });
  });
  return { ...request, deliveries };
}

/** The card of an approval in one chat. What does not fit into one message can only be denied there. */
function approvalCard(
  request: Extract<Spoken, { type: 'approval_requested' }>,
  chat: Chat,
  file: string | undefined,
  rules: Rules,
  to: { out: string; replyTo: OpenTurn['replyTo'] },
): Delivery {
  const { approval, always } = request;
  const whole = textParts(spokenText(request), rules, chat);
  const fits = whole.length === 1;
  const keyboard: InlineKeyboard = [[{ text: 'Deny', data: `/deny ${approval}` }]];
  if (fits) {
    const allow = [{ text: 'Allow once', data: `/approve ${approval}` }];
    // What one person of a group allows for ever, the others would use.
    if (always !== null && chat.chat_type === 'dm') {
      allow.push({ text: 'Allow always', data: `/approve ${approval} always` });
    }
    keyboard.unshift(allow);
  }
  const prefix = `🔐 ${request.tool} asks for consent, but what it would do is too long for one message here. Look at it in a terminal (duragent approvals); here it can only be denied: /deny ${approval}`;
  const parts = fits
    ? whole
    : // The card first: not every platform takes the file.
      [{ prefix, from: 0, to: 0, suffix: '' }, ...(file === undefined ? [] : [{ file }])];
  return { ...deliveryTo(chat, parts, rules, { ...to, format: 'text' }), keyboard };
}

/** The question of a call, on a card in every chat of the session. */
export function askQuestion(
  state: SessionState,
  turn: OpenTurn,
  call: OpenCall,
  { text, choices, default: fallback, timeoutMs }: Omit<Verdict<'ask'>, 'kind'>,
  rules: Rules,
): Extract<Facts[number], { type: 'question_asked' }> {
  const question = derivedId('q', call.call, 'question');
  const asked = {
    type: 'question_asked' as const,
    turn: turn.turn,
    call: call.call,
    question,
    text,
    ...(choices ? { choices } : {}),
    ...(fallback === undefined ? {} : { default: fallback }),
    expires_at: expiryOf(timeoutMs, rules),
    deliveries: [],
  };
  const keyboard = choices?.map((choice, i) => [
    { text: choice, data: `/answer ${question} ${i + 1}` },
  ]);
  const cards = deliveriesTo(heardIn(state), { text: spokenText(asked), format: 'text' }, rules, {
    out: (chat) => outId(call.call, `question/${chatKey(chat)}`),
    replyTo: turn.replyTo,
  });
  const deliveries = cards.map((card) => (keyboard ? { ...card, keyboard } : card));
  return { ...asked, deliveries };
}

function expiryOf(ms: number | null, { now }: Rules): string | null {
  return ms === null ? null : new Date(now + ms).toISOString();
}
