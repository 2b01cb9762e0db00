import type { SessionEvent } from '@duragent/protocol';
import { endBeyondLimit } from './background.ts';
import { closingCards } from './cards.ts';
import { addressOf } from './chat-key.ts';
import { answerQuestion, decideApproval, expireConsent, judgeCall } from './consent.ts';
import { boundChats, decideDelivery, isAboutDelivery } from './deliveries.ts';
import { waitsForPeople } from './evolve-calls.ts';
import { evolve } from './evolve.ts';
import type { Facts } from './facts.ts';
import { endStartedCalls } from './interrupted-calls.ts';
import { chatOf, isOfPerson, receive } from './receive.ts';
import { recover } from './recover.ts';
import { retryAfterFailure } from './retry.ts';
import type { Rules } from './rules.ts';
import type { ChatBinding, SessionInput } from './session-input.ts';
import { settle } from './settle.ts';
import { notify, speak, tellByCall } from './speak.ts';
import { MAX_CHATS, type SessionState } from './state.ts';
import { skipExcess } from './tool-calls.ts';
import {
  isCurrentCall,
  letGoOn,
  resume,
  stopOverdue,
  stopTurn,
  waitsForSomebody,
} from './turns.ts';

/** An event, and the state after it. */
export interface Step {
  event: SessionEvent;
  after: SessionState;
}

/**
 * The events that an input causes, stamped and in order; none where it changes nothing. Never
 * throws. Every prefix of the result is a legal log: what is cut off, `recover` decides again.
 */
export function decide(state: SessionState, input: SessionInput, rules: Rules): Step[] {
  const steps: Step[] = [];
  let current = state;
  const record = (facts: Facts): void => {
    for (const fact of facts) {
      const event: SessionEvent = {
        seq: current.seq + 1,
        epoch: rules.epoch,
        at: new Date(rules.now).toISOString(),
        ...closingCards(current, fact, rules),
        ...unattended(current, fact, rules),
      };
      current = evolve(current, event);
      steps.push({ event, after: current });
    }
  };
  record(react(state, input, rules));
  if (current.seq === 0) return steps;
  const calls = input.type === 'model_finished' ? input.tool_calls : rules.calls;
  const answers = withAnswers(rules.answers, steps);
  const interrupted = withInterrupted(rules.interrupted, steps);
  for (;;) {
    const facts = settle(current, state, { ...rules, calls, answers, interrupted });
    if (facts.length === 0) return steps;
    record(facts);
  }
}

const counting: ReadonlySet<Facts[number]['type']> = new Set<Facts[number]['type']>([
  'assistant_message',
  'model_call_failed',
  'tool_started',
  'tool_finished',
  'turn_paused',
  'turn_resumed',
]);

/** How long the turn has worked with nobody attached, in the records that it makes anyway. */
function unattended(
  { turn }: SessionState,
  fact: Facts[number],
  { background }: Rules,
): { unattended_ms?: number } {
  const isNews = turn?.turn === background.turn && background.ms > (turn?.unattendedMs ?? 0);
  return isNews && counting.has(fact.type) ? { unattended_ms: background.ms } : {};
}

function withAnswers(answers: Rules['answers'], steps: readonly Step[]) {
  const fresh = steps.flatMap(({ event }) =>
    event.type === 'question_answered' ? [[event.call, event] as const] : [],
  );
  return fresh.length === 0 ? answers : new Map([...answers, ...fresh]);
}

function withInterrupted(interrupted: Rules['interrupted'], steps: readonly Step[]) {
  const fresh = steps.flatMap(({ event }) =>
    event.type === 'question_asked' && event.interrupted
      ? [[event.call, event.interrupted.output] as const]
      : [],
  );
  return fresh.length === 0 ? interrupted : new Map([...interrupted, ...fresh]);
}

/** What the input itself says. */
function react(state: SessionState, input: SessionInput, rules: Rules): Facts {
  if (input.type === 'start') return start(state, input, rules);
  if (input.type === 'recover') return recover(state, input, rules);
  if (state.seq === 0) return [];
  // What was said before the end is still owed.
  if (isAboutDelivery(input)) return decideDelivery(state, input, rules);
  if (state.ended) return [];
  const turn = state.turn;
  switch (input.type) {
    case 'receive':
      return hear(state, input, rules);
    case 'notify':
      return notify(state, input, rules);
    case 'tell':
      return tellByCall(state, input, rules);
    case 'bind':
      return bind(state, input.chat);
    case 'unbind': {
      const chat = chatOf(state, input.chat);
      return chat ? [{ type: 'chat_unbound', ...addressOf(chat), by: input.by }] : [];
    }
    case 'move':
      return move(state, input);
    case 'set': {
      const { name, value, by } = input;
      return state.settings[name] === value ? [] : [{ type: 'setting_changed', name, value, by }];
    }
    case 'wake':
      return [];
    case 'model_finished': {
      if (!isCurrentCall(turn, input)) return [];
      const { type: _, usage, model, ...fields } = input;
      const said = { ...fields, ...(usage ? { usage } : {}), model };
      return [speak(state, turn, said, rules), ...skipExcess(turn.turn, said.tool_calls)];
    }
    case 'model_failed': {
      if (!isCurrentCall(turn, input)) return [];
      const { type: _, usage, retryable: _r, retryAfterMs: _a, ...fields } = input;
      const retry = retryAfterFailure(turn, input, rules.now);
      return [
        {
          type: 'model_call_failed',
          ...fields,
          ...(usage ? { usage } : {}),
          ...(retry ? { retry } : {}),
        },
      ];
    }
    case 'summary_finished':
    case 'summary_failed':
      return endSummary(state, input);
    case 'call_judged':
      return judgeCall(state, input, rules);
    case 'decide_approval':
      return decideApproval(state, input, rules);
    case 'answer_question':
      return answerQuestion(state, input, rules);
    case 'expire':
      return expireConsent(state, input, rules);
    case 'tool_result': {
      const call = turn?.calls.find((one) => one.call === input.call);
      if (!turn || turn.turn !== input.turn || call?.status !== 'started') return [];
      const { type: _, ...fields } = input;
      return [{ type: 'tool_finished', ...fields }];
    }
    case 'cancel':
      return turn ? stopTurn(state, rules, input.draft, 'cancelled') : [];
    case 'deadline':
      return stopOverdue(state, input, rules);
    case 'pause':
      return state.pausedBy === null ? [{ type: 'session_paused', by: input.by }] : [];
    case 'resume':
      return letGoOn(state, input.by);
    case 'background_limit':
      return turn?.turn === input.turn ? endBeyondLimit(state, turn, rules) : [];
    case 'attach':
      return waitsForSomebody(state) ? [resume(state.turn, 'attached')] : [];
    case 'detach':
      return [];
    case 'drain':
      return turn && !turn.paused
        ? [
            ...endStartedCalls(state, turn, input.outputs ?? {}, rules),
            { type: 'turn_paused', turn: turn.turn, reason: 'drain' },
          ]
        : [];
    case 'end':
      return [
        ...(turn ? stopTurn(state, rules, input.draft, 'cancelled') : []),
        { type: 'session_ended', reason: input.reason },
      ];
  }
}

function start(
  state: SessionState,
  input: Extract<SessionInput, { type: 'start' }>,
  rules: Rules,
): Facts {
  if (state.seq > 0) return [];
  const { session, agent, key, origin, on_disconnect, labels, chat } = input;
  return [
    {
      type: 'session_started',
      session,
      agent,
      agent_hash: rules.agentHash,
      ...(key === undefined ? {} : { key }),
      origin,
      ...(on_disconnect === undefined ? {} : { on_disconnect }),
      labels,
    },
    ...(chat ? [{ type: 'chat_bound' as const, ...chat }] : []),
  ];
}

function bind(state: SessionState, chat: ChatBinding): Facts {
  const known = chatOf(state, chat);
  if (known && known.inbox >= chat.inbox) return [];
  if (!known && boundChats(state).length >= MAX_CHATS) return [];
  return [{ type: 'chat_bound', ...chat }];
}

/** A chat with another id takes the place of the one that it was: there are no more than before. */
function move(state: SessionState, { from, chat }: Extract<SessionInput, { type: 'move' }>): Facts {
  const old = chatOf(state, from);
  if (!old) return [];
  return [
    { type: 'chat_bound', ...chat, moved_from: old.chat_id },
    { type: 'chat_unbound', ...addressOf(old), by: chat.by },
  ];
}

/** A message, and what it does to a turn that nobody was there for, or that it interrupts. */
function hear(
  state: SessionState,
  input: Extract<SessionInput, { type: 'receive' }>,
  rules: Rules,
): Facts {
  const facts = receive(state, input, rules);
  const { turn } = state;
  const heard = facts[0];
  if (!turn || heard?.type !== 'user_message') return facts;
  const isAnswer = facts[1]?.type === 'question_answered';
  if (heard.handling !== 'turn' && !isAnswer) return facts;
  // What a schedule or a program says does not tell that anybody looks after the turn.
  const isHeard = turn.paused !== 'background_limit' || isOfPerson(input.source);
  if (waitsForSomebody(state) && isHeard) return [...facts, resume(turn, 'message')];
  if (state.pausedBy !== null) return facts;
  // An effectful tool is let to its end: then the safe point behind it interrupts the turn.
  const isIdle = turn.phase === 'model' || waitsForPeople(turn);
  if (turn.queue !== 'interrupt' || isAnswer || !isIdle || turn.paused) return facts;
  return [...facts, ...stopTurn(state, rules, input.draft, 'interrupted')];
}

/** What became of the summary that is owed. Without one the session goes on. */
function endSummary(
  { summary, turn }: SessionState,
  input: Extract<SessionInput, { type: 'summary_finished' | 'summary_failed' }>,
): Facts {
  if (summary.wanted?.upTo !== input.up_to_seq) return [];
  const during = turn ? { turn: turn.turn } : {};
  const { usage, model, up_to_seq } = input;
  const spent = { ...(usage ? { usage } : {}), model };
  return input.type === 'summary_finished'
    ? [{ type: 'history_summarized', ...during, up_to_seq, summary: input.summary, ...spent }]
    : [{ type: 'summary_failed', ...during, up_to_seq, error: input.error, ...spent }];
}
