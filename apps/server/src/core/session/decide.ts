import type { ErrorInfo, SessionEvent, TurnOutcome, Usage } from '@duragent/protocol';
import { addressOf, chatKey } from './chat-key.ts';
import { answerQuestion, decideApproval, expireConsent, judgeCall } from './consent.ts';
import {
  boundChats,
  closeCutDeliveries,
  decideDelivery,
  deliveriesTo,
  dropExcess,
  isAboutDelivery,
  stepOut,
  withOthers,
} from './deliveries.ts';
import { waitsForPeople } from './evolve-calls.ts';
import { evolve } from './evolve.ts';
import type { Facts } from './facts.ts';
import { outId } from './derived-id.ts';
import { chatOf, findMessage, MAX_WINDOWS, receive } from './receive.ts';
import { retryAfterFailure } from './retry.ts';
import type { Rules } from './rules.ts';
import type { ChatBinding, Draft, SessionInput } from './session-input.ts';
import { spokenText } from './spoken-text.ts';
import {
  type Chat,
  MAX_CHATS,
  MAX_CRASH_RESUMES,
  type OpenTurn,
  type PendingMessage,
  type SessionState,
} from './state.ts';
import {
  closeCutAnswers,
  closeCutCalls,
  endStartedCalls,
  expireStale,
  repeats,
  settleCalls,
  skipExcess,
} from './tool-calls.ts';
import { workedMs } from './working-time.ts';

/**
 * The events that an input causes, stamped and in order; none where it changes nothing. Never
 * throws. Every prefix of the result is a legal log: what is cut off, `recover` decides again.
 */
export function decide(state: SessionState, input: SessionInput, rules: Rules): SessionEvent[] {
  const events: SessionEvent[] = [];
  let current = state;
  const record = (facts: Facts): void => {
    for (const fact of facts) {
      const event: SessionEvent = {
        seq: current.seq + 1,
        epoch: rules.epoch,
        at: new Date(rules.now).toISOString(),
        ...fact,
      };
      events.push(event);
      current = evolve(current, event);
    }
  };
  record(react(state, input, rules));
  if (current.seq === 0) return events;
  const calls = input.type === 'model_finished' ? input.tool_calls : rules.calls;
  const answers = withAnswers(rules.answers, events);
  for (;;) {
    const facts = settle(current, state, { ...rules, calls, answers });
    if (facts.length === 0) return events;
    record(facts);
  }
}

function withAnswers(answers: Rules['answers'], events: readonly SessionEvent[]) {
  const fresh = events.flatMap((event) =>
    event.type === 'question_answered' ? [[event.call, event.answer] as const] : [],
  );
  return fresh.length === 0 ? answers : new Map([...answers, ...fresh]);
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
    case 'bind':
      return bind(state, input.chat);
    case 'unbind': {
      const chat = chatOf(state, input.chat);
      return chat ? [{ type: 'chat_unbound', ...addressOf(chat), by: input.by }] : [];
    }
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
    case 'deadline': {
      const limit = turn?.limits.turn_timeout_ms;
      if (!turn || turn.turn !== input.turn || limit == null) return [];
      const at = new Date(rules.now).toISOString();
      if (turn.paused || workedMs(turn, at) < limit) return [];
      return stopTurn(state, rules, undefined, 'failed', {
        code: 'turn_timeout',
        message: `The turn worked for ${limit / 1000} s, its limit (session.turn_timeout). Send a message to go on.`,
      });
    }
    case 'attach':
      return turn?.paused === 'disconnected' ? [resume(turn, 'attached')] : [];
    case 'detach':
      return [];
    case 'drain':
      return turn && !turn.paused
        ? [...endStartedCalls(turn), { type: 'turn_paused', turn: turn.turn, reason: 'drain' }]
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
  if (turn.paused === 'disconnected') return [...facts, resume(turn, 'message')];
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

/** People are told something once; a chat that nobody bound gets it all the same. */
function notify(
  state: SessionState,
  { text, idempotency, chats }: Extract<SessionInput, { type: 'notify' }>,
  rules: Rules,
): Facts {
  if (findMessage(state, idempotency)) return [];
  const to = chats ? withOthers([], chats) : boundChats(state);
  const deliveries = deliveriesTo(to, { text, format: 'markdown' }, rules, {
    out: (chat) => outId(state.session, `notify/${idempotency}/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, idempotency, deliveries }];
}

/** What the model said, with where it is to be shown. */
function speak(
  state: SessionState,
  turn: OpenTurn,
  said: Omit<Extract<Facts[number], { type: 'assistant_message' }>, 'type' | 'deliveries'>,
  rules: Rules,
): Facts[number] {
  const message = { type: 'assistant_message' as const, ...said, deliveries: [] };
  const files = said.content.flatMap((part) => (part.type === 'file' ? [part.artifact] : []));
  const what = { text: spokenText(message), files, format: 'markdown' as const };
  // A chat that went to another session meanwhile still gets the end of what it saw begin.
  const began = (chat: Chat): boolean =>
    state.previews.some(({ out }) => out === stepOut(turn.turn, said.step, chat));
  const chats = withOthers(
    state.chats.filter((chat) => chat.bound || began(chat)),
    turn.deliverTo,
  );
  const deliveries = deliveriesTo(chats, what, rules, {
    out: (chat) => stepOut(turn.turn, said.step, chat),
    replyTo: turn.replyTo,
  });
  return { ...message, deliveries };
}

/**
 * What was in flight when the log was last left is closed: its tools become `unknown`, its model
 * call gets the next attempt. Twice adds nothing, because what it adds lies behind `openedSeq`.
 */
function recover(
  state: SessionState,
  input: Extract<SessionInput, { type: 'recover' }>,
  rules: Rules,
): Facts {
  const facts: Facts = [];
  if (input.torn) {
    facts.push({ type: 'recovered', bytes: input.torn.bytes, saved_as: input.torn.savedAs });
  }
  facts.push(...closeCutDeliveries(state, input.openedSeq));
  const turn = state.turn;
  if (!turn || state.ended) return facts;
  const { openedSeq, outputs = {}, cut } = input;
  facts.push(...closeCutAnswers(turn, rules), ...expireStale(turn, openedSeq, rules));
  if (turn.paused === 'drain') return [...facts, resume(turn, 'drain', cut)];
  if (turn.paused) return facts;
  if (turn.phase === 'tools') {
    const isRepeated = turn.calls.some((call) => repeats(turn, call, openedSeq));
    // Counted like a cut model call: what kills the server is not repeated for ever.
    if (isRepeated) facts.push(resume(turn, 'crash'));
    return [...facts, ...closeCutCalls(turn, openedSeq, outputs, rules)];
  }
  if (turn.phase !== 'model' || turn.phaseSeq > input.openedSeq) return facts;
  if (turn.crashes < MAX_CRASH_RESUMES) return [...facts, resume(turn, 'crash', input.cut)];
  const error = {
    code: 'crash_loop',
    message: `The server stopped ${turn.crashes + 1} times during this turn; it is not tried again. Send a message to go on.`,
  };
  const charged = input.cut ? [resume(turn, 'crash', input.cut)] : [];
  return [...facts, ...charged, ...finishTurn(state, turn, rules, 'needs_attention', error)];
}

/** What the state asks for by itself, one step at a time; nothing at rest. `before` is the state the input met. */
function settle(state: SessionState, before: SessionState, rules: Rules): Facts {
  const excess = dropExcess(state);
  if (excess.length > 0) return excess;
  if (state.ended) return [];
  const turn = state.turn;
  if (!turn) return startTurn(state, rules);
  if (turn.paused) return [];
  switch (turn.phase) {
    case 'answered':
      return [{ type: 'turn_finished', turn: turn.turn, outcome: 'completed', usage: turn.usage }];
    case 'failed':
      return finishTurn(state, turn, rules, 'failed', turn.error ?? undefined);
    case 'tools': {
      const isCalled = turn.queue === 'interrupt' && state.pending.length > 0;
      if (isCalled && isBetweenCalls(turn)) return stopTurn(state, rules, undefined, 'interrupted');
      return isBetweenCalls(turn) && isLeft(state, turn, rules)
        ? [{ type: 'turn_paused', turn: turn.turn, reason: 'disconnected' }]
        : settleCalls(turn, rules);
    }
    case 'model':
      return atSafePoint(state, before) ? passSafePoint(state, turn, rules) : [];
  }
}

/** Whether this decision has just brought the turn between two steps or attempts. */
function atSafePoint(state: SessionState, before: SessionState): boolean {
  const [now, then] = [state.turn, before.turn];
  if (!now) return false;
  return now.turn !== then?.turn || now.step !== then.step || now.attempt !== then.attempt;
}

function passSafePoint(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  if (turn.step > turn.limits.max_tool_iterations) {
    return finishTurn(state, turn, rules, 'failed', {
      code: 'max_tool_iterations',
      message: `The turn took ${turn.limits.max_tool_iterations} steps, its limit (session.max_tool_iterations). Send a message to go on.`,
    });
  }
  if (turn.queue === 'interrupt' && state.pending.length > 0) {
    return finishTurn(state, turn, rules, 'interrupted');
  }
  if (isLeft(state, turn, rules)) {
    return [{ type: 'turn_paused', turn: turn.turn, reason: 'disconnected' }];
  }
  return [];
}

/** Whether no call is under way, and one has ended or people have to speak. */
function isBetweenCalls(turn: OpenTurn): boolean {
  const statuses = new Set(turn.calls.map(({ status }) => status));
  return !statuses.has('started') && (statuses.has('finished') || waitsForPeople(turn));
}

/** Whether everyone left this turn, and it is not to go on without them. */
function isLeft(state: SessionState, turn: OpenTurn, rules: Rules): boolean {
  return (state.onDisconnect ?? rules.onDisconnect) === 'pause' && rules.leftTurn === turn.turn;
}

/** A turn for the messages that wait and are not held any more. */
function startTurn(state: SessionState, rules: Rules): Facts {
  const ready = state.pending.filter((message) => !isHeld(message, rules));
  const first = ready[0];
  if (!first) return [];
  const isGroup = state.chats.find((chat) => chat.since === first.chat)?.chat_type !== 'dm';
  const byPlace = first.chat !== undefined && isGroup ? 'batch' : 'steer';
  const queue = state.settings.queue ?? rules.queue ?? byPlace;
  const trigger = queue === 'batch' ? ready : [first];
  return [
    ...greet(state, rules),
    {
      type: 'turn_started',
      turn: turnOf(first.message_id),
      trigger: trigger.map((message) => message.message_id),
      agent_hash: rules.agentHash,
      limits: rules.limits,
      queue,
    },
  ];
}

/** What a chat is told before its first answer, where it never had a session before. */
function greet(state: SessionState, rules: Rules): Facts {
  const chats = boundChats(state);
  const text = rules.greeting ?? '';
  const isFirst = state.origin.first === true && state.turns === 0 && !state.greeted;
  if (!isFirst || chats.length === 0 || text.trim() === '') return [];
  const deliveries = deliveriesTo(chats, { text, format: 'markdown' }, rules, {
    out: (chat) => outId(state.session, `greeting/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, deliveries }];
}

function isHeld({ held_until }: PendingMessage, { now, waiting }: Rules): boolean {
  if (held_until === undefined) return false;
  const left = Date.parse(held_until) - now;
  // More than a burst may last: the clock was set back.
  return left > 0 && left <= MAX_WINDOWS * waiting.debounceMs;
}

/** The turn that a message starts is named after it, so that deciding twice names the same turn. */
function turnOf(messageId: string): string {
  return `turn_${messageId.slice(messageId.indexOf('_') + 1)}`;
}

/** Closes a turn before its end: no call stays without a result, and what was seen of the answer is kept. */
function stopTurn(
  state: SessionState,
  rules: Rules,
  draft: Draft | undefined,
  outcome: 'cancelled' | 'interrupted' | 'failed',
  error?: ErrorInfo,
): Facts {
  const { turn } = state;
  if (!turn) return [];
  const facts: Facts = turn.calls
    .filter((call) => call.status !== 'finished')
    .map((call) => ({
      type: 'tool_finished',
      turn: turn.turn,
      call: call.call,
      outcome: call.status === 'started' ? 'cancelled' : 'skipped',
      content: 'The turn was stopped.',
      details: {},
    }));
  if (draft && isCurrentCall(turn, draft)) {
    const { text, ...fields } = draft;
    const content = [{ type: 'text' as const, text }];
    const said = { ...fields, content, tool_calls: [], finish_reason: 'cancelled' };
    facts.push(speak(state, turn, said, rules));
  }
  return [...facts, ...finishTurn(state, turn, rules, outcome, error)];
}

/** The end of a turn; one that people have to know of is told in the session's chats. */
function finishTurn(
  state: SessionState,
  turn: OpenTurn,
  rules: Rules,
  outcome: TurnOutcome,
  error?: ErrorInfo,
): Facts {
  const { usage } = turn;
  const finished = {
    type: 'turn_finished' as const,
    turn: turn.turn,
    outcome,
    ...(error ? { error } : {}),
    usage,
  };
  const chats = withOthers(boundChats(state), turn.deliverTo);
  if (!error || chats.length === 0) return [finished];
  const what = { text: `⚠️ ${error.message}`, format: 'text' as const };
  const deliveries = deliveriesTo(chats, what, rules, {
    out: (chat) => outId(turn.turn, `end/${chatKey(chat)}`),
    replyTo: turn.replyTo,
  });
  return [{ type: 'notice', text: what.text, deliveries }, finished];
}

function resume(
  turn: OpenTurn,
  cause: 'attached' | 'message' | 'crash' | 'drain',
  charged?: { usage: Usage; model: string },
): Facts[number] {
  const cut = cause === 'crash' || cause === 'drain';
  return {
    type: 'turn_resumed',
    turn: turn.turn,
    cause,
    attempt: cut ? turn.attempt + 1 : turn.attempt,
    ...charged,
  };
}

function isCurrentCall(
  turn: OpenTurn | null,
  call: { turn: string; step: number; attempt: number },
): turn is OpenTurn {
  return (
    turn !== null &&
    turn.phase === 'model' &&
    !turn.paused &&
    turn.turn === call.turn &&
    turn.step === call.step &&
    turn.attempt === call.attempt
  );
}
