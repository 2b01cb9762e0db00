import {
  type EventOf,
  isKnownEvent,
  MAX_DELIVER_TO,
  queueModeSchema,
  type SessionEvent,
  type StoredEvent,
  type Usage,
} from '@duragent/protocol';
import { addressOf, chatKey } from './chat-key.ts';
import {
  type CallEvent,
  evolveCall,
  finishedCall,
  proposedCalls,
  waitsForPeople,
} from './evolve-calls.ts';
import { evolveDelivery, oweDeliveries, withChats } from './evolve-deliveries.ts';
import { senderKey } from './receive.ts';
import { textOf } from './spoken-text.ts';
import {
  type Chat,
  type KnownKey,
  KEY_TTL_MS,
  MAX_BURSTS,
  MAX_KEYS,
  type OpenTurn,
  type PendingMessage,
  type SessionState,
  type SummaryState,
} from './state.ts';

const PREVIEW_CHARS = 80;

/**
 * The state after one more event. Pure and total: any event on any state gives a state, an event
 * that does not fit changes nothing but `seq`, `epoch` and `updatedAt`.
 */
export function evolve(state: SessionState, event: StoredEvent): SessionState {
  const next = isKnownEvent(event) ? apply(state, event) : state;
  return { ...next, seq: event.seq, epoch: event.epoch, updatedAt: event.at };
}

function apply(state: SessionState, event: SessionEvent): SessionState {
  switch (event.type) {
    case 'session_started':
      return {
        ...state,
        session: event.session,
        agent: event.agent,
        ...(event.key === undefined ? {} : { key: event.key }),
        labels: event.labels,
        origin: event.origin,
        ...(event.on_disconnect === undefined ? {} : { onDisconnect: event.on_disconnect }),
        createdAt: event.at,
      };
    case 'chat_bound':
      return bind(state, event);
    case 'chat_unbound':
      return unbind(state, event);
    case 'user_message':
      return oweDeliveries(receive(state, event), event.seq, event.deliveries ?? []);
    case 'message_dropped':
      return {
        ...state,
        pending: state.pending.filter((one) => !event.message_ids.includes(one.message_id)),
      };
    case 'turn_started':
      return startTurn(state, event);
    case 'preview_posted':
    case 'delivery_started':
    case 'delivery_finished':
      return evolveDelivery(state, event);
    case 'notice':
      return oweDeliveries(tell(state, event), event.seq, event.deliveries);
    case 'setting_changed':
      return set(state, event);
    case 'session_ended':
      return {
        ...state,
        ended: { reason: event.reason, at: event.at },
        turn: null,
        pending: [],
        previews: [],
        // Kept with their inbox numbers: what they have sent is not taken again by another session.
        chats: state.chats.map((chat) => ({ ...chat, bound: false })),
      };
    case 'history_summarized':
    case 'summary_failed':
      return endSummary(charge(state, event.usage), event);
    case 'recovered':
      return state;
    default:
      return onTurn(state, event);
  }
}

/** Events that mean something only for the open turn they name. */
type TurnEvent = Exclude<
  SessionEvent,
  {
    type:
      | 'session_started'
      | 'chat_bound'
      | 'chat_unbound'
      | 'user_message'
      | 'message_dropped'
      | 'turn_started'
      | 'preview_posted'
      | 'delivery_started'
      | 'delivery_finished'
      | 'notice'
      | 'setting_changed'
      | 'session_ended'
      | 'history_summarized'
      | 'summary_failed'
      | 'recovered';
  }
>;

function onTurn(state: SessionState, event: TurnEvent): SessionState {
  const turn = state.turn;
  if (turn === null || turn.turn !== event.turn) return state;
  switch (event.type) {
    case 'assistant_message':
      return oweDeliveries(answer(state, turn, event), event.seq, event.deliveries);
    case 'model_call_failed':
      return { ...charge(state, event.usage), turn: failCall(turn, event) };
    case 'approval_requested':
    case 'question_asked':
      return oweDeliveries(
        { ...state, turn: changeCall(turn, event) },
        event.seq,
        event.deliveries,
      );
    case 'approval_decided':
    case 'tool_started':
      return { ...state, turn: changeCall(turn, event) };
    case 'question_answered':
      return {
        ...state,
        turn: changeCall(turn, event),
        keys: state.keys.map((known) =>
          known.message_id === event.message_id ? { ...known, turn: turn.turn } : known,
        ),
      };
    case 'tool_finished':
      return { ...state, turn: finishCall(turn, event) };
    case 'turn_paused':
      return {
        ...state,
        turn: {
          ...turn,
          paused: event.reason,
          workedMs: workedMs(turn, event.at),
          workingSince: null,
        },
      };
    case 'turn_resumed':
      return {
        ...charge(state, event.usage),
        turn: keepTime(
          {
            ...turn,
            usage: addUsage(turn.usage, event.usage),
            paused: null,
            attempt: event.attempt,
            phaseSeq: event.seq,
            crashes: turn.crashes + (event.cause === 'crash' ? 1 : 0),
          },
          event.at,
        ),
      };
    case 'turn_finished':
      return {
        ...state,
        turn: null,
        previews: [],
        lastTurn: { turn: turn.turn, outcome: event.outcome },
      };
  }
}

function bind(state: SessionState, event: EventOf<'chat_bound'>): SessionState {
  const key = chatKey(event);
  const known = state.chats.find((chat) => chatKey(chat) === key);
  const chat: Chat = {
    ...addressOf(event),
    since: known?.since ?? event.seq,
    chat_type: event.chat_type,
    ...(event.peer === undefined ? {} : { peer: event.peer }),
    inbox: Math.max(event.inbox, known?.inbox ?? 0),
    bound: true,
  };
  return {
    ...state,
    chats: known ? state.chats.map((one) => (one === known ? chat : one)) : [...state.chats, chat],
  };
}

function unbind(state: SessionState, event: EventOf<'chat_unbound'>): SessionState {
  const key = chatKey(event);
  const chats = state.chats.map((chat) =>
    chatKey(chat) === key ? { ...chat, bound: false } : chat,
  );
  return withChats(state, chats);
}

function set(state: SessionState, { name, value }: EventOf<'setting_changed'>): SessionState {
  const { settings } = state;
  if (name === 'activation') {
    if (value !== null && value !== 'mention' && value !== 'always') return state;
    return { ...state, settings: { ...settings, activation: value } };
  }
  const mode = value === null ? null : queueModeSchema.safeParse(value);
  if (mode !== null && !mode.success) return state;
  return { ...state, settings: { ...settings, queue: mode?.data ?? null } };
}

function receive(state: SessionState, event: EventOf<'user_message'>): SessionState {
  const key = event.source.idempotency;
  const text = textOf(event.content);
  const isSteered = event.handling === 'turn' && state.turn?.queue === 'steer';
  const steered = isSteered ? state.turn?.turn : undefined;
  const chat = event.source.chat ? keyOfChat(state, event.source.chat) : undefined;
  return {
    ...state,
    pending: event.handling === 'turn' ? wait(state, event, chat) : state.pending,
    chats: chat
      ? state.chats.map((one) =>
          one === chat ? { ...one, inbox: Math.max(one.inbox, event.source.inbox?.n ?? 0) } : one,
        )
      : state.chats,
    bursts: chat && event.handling === 'turn' ? burst(state, event) : state.bursts,
    botRun:
      event.handling !== 'turn' ? state.botRun : event.source.sender?.is_bot ? state.botRun + 1 : 0,
    keys:
      key === undefined
        ? state.keys
        : addKey(state, {
            key,
            seq: event.seq,
            message_id: event.message_id,
            ...(steered === undefined ? {} : { turn: steered }),
            at: event.at,
          }),
    preview: Array.from(text.slice(0, 2 * PREVIEW_CHARS))
      .slice(0, PREVIEW_CHARS)
      .join(''),
  };
}

function tell(state: SessionState, event: EventOf<'notice'>): SessionState {
  const key = event.idempotency;
  if (key === undefined) return { ...state, greeted: true };
  return { ...state, keys: addKey(state, { key, seq: event.seq, message_id: '', at: event.at }) };
}

function addKey({ keys }: SessionState, known: KnownKey): KnownKey[] {
  const fresh = keys.filter((one) => ageMs(one.at, known.at) < KEY_TTL_MS);
  return [...fresh, known].slice(-MAX_KEYS);
}

function keyOfChat(state: SessionState, address: Parameters<typeof chatKey>[0]): Chat | undefined {
  const key = chatKey(address);
  return state.chats.find((one) => one.bound && chatKey(one) === key);
}

/** The messages that wait, with one more: a new text takes the place of the old, a burst is held together. */
function wait(
  state: SessionState,
  event: EventOf<'user_message'>,
  chat: Chat | undefined,
): PendingMessage[] {
  const sender = senderKey(event.source);
  const held = event.held_until;
  const message: PendingMessage = {
    seq: event.seq,
    message_id: event.message_id,
    ...(chat && event.source.chat
      ? { chat: chat.since, platform_id: event.source.chat.message_id }
      : {}),
    ...(event.deliver_to ? { deliverTo: event.deliver_to } : {}),
    ...(held === undefined ? {} : { held_until: held, sender }),
  };
  const waiting = state.pending.map((one) =>
    held !== undefined && one.held_until !== undefined && one.sender === sender
      ? { ...one, held_until: held }
      : one,
  );
  // It keeps the seq of its own record: a model call in progress has not seen it.
  const at = waiting.findIndex((one) => one.message_id === event.replaces);
  return at < 0 ? [...waiting, message] : waiting.with(at, message);
}

function burst(state: SessionState, event: EventOf<'user_message'>): SessionState['bursts'] {
  const sender = senderKey(event.source);
  const before = state.bursts.find((one) => one.sender === sender);
  const heldSince = event.held_until === undefined ? null : (before?.heldSince ?? event.at);
  const others = state.bursts.filter((one) => one !== before);
  return [...others, { sender, at: event.at, heldSince }].slice(-MAX_BURSTS);
}

function startTurn(state: SessionState, event: EventOf<'turn_started'>): SessionState {
  if (state.turn !== null) return state;
  return {
    ...state,
    turns: state.turns + 1,
    windowTokens: 4 * event.limits.max_history_tokens,
    pending: state.pending.filter((message) => !event.trigger.includes(message.message_id)),
    keys: state.keys.map((known) =>
      event.trigger.includes(known.message_id) ? { ...known, turn: event.turn } : known,
    ),
    turn: {
      turn: event.turn,
      trigger: event.trigger,
      agentHash: event.agent_hash,
      limits: event.limits,
      queue: event.queue,
      startedSeq: event.seq,
      firstSeq: firstSeqOf(state, event),
      ...freshStep(1, event.seq),
      crashes: 0,
      paused: null,
      replyTo: replyToOf(state, event),
      deliverTo: state.pending
        .filter((message) => event.trigger.includes(message.message_id))
        .flatMap((message) => message.deliverTo ?? [])
        .slice(0, MAX_DELIVER_TO),
      error: null,
      usage: { input_tokens: 0, output_tokens: 0 },
      workedMs: 0,
      workingSince: event.at,
    },
  };
}

function firstSeqOf(state: SessionState, event: EventOf<'turn_started'>): number {
  const first = state.pending.find((message) => event.trigger.includes(message.message_id));
  return first?.seq ?? event.seq;
}

/** The newest of the messages that it answers. */
function replyToOf(state: SessionState, event: EventOf<'turn_started'>): OpenTurn['replyTo'] {
  const last = state.pending.findLast((message) => event.trigger.includes(message.message_id));
  if (last?.chat === undefined || last.platform_id === undefined) return null;
  return { chat: last.chat, message: last.platform_id };
}

function freshStep(step: number, seq: number) {
  return {
    step,
    attempt: 1,
    failures: 0,
    candidate: 0,
    retryAt: null,
    phase: 'model' as const,
    phaseSeq: seq,
    calls: [],
  };
}

function answer(
  state: SessionState,
  turn: OpenTurn,
  event: EventOf<'assistant_message'>,
): SessionState {
  if (turn.phase !== 'model' || turn.step !== event.step) return state;
  const calls = proposedCalls(event);
  const steered = turn.queue === 'steer';
  const pending = steered
    ? state.pending.filter((message) => message.seq > event.input_seq)
    : state.pending;
  const after: OpenTurn = { ...turn, error: null, usage: addUsage(turn.usage, event.usage) };
  return {
    ...charge(state, event.usage),
    pending,
    summary: wantSummary(state.summary, event, pending),
    turn:
      calls.length === 0 && steered && pending.length > 0
        ? { ...after, ...freshStep(turn.step + 1, event.seq) }
        : {
            ...after,
            attempt: event.attempt,
            phase: calls.length > 0 ? 'tools' : 'answered',
            phaseSeq: event.seq,
            retryAt: null,
            calls,
          },
  };
}

/** A summary that is owed is let to its end before another one is. */
function wantSummary(
  summary: SummaryState,
  { given }: EventOf<'assistant_message'>,
  pending: readonly PendingMessage[],
): SummaryState {
  const upTo = given?.summarize_seq ?? 0;
  if (summary.wanted || upTo <= Math.max(summary.upTo, summary.failed)) return summary;
  // What waits for its own turn is not summarized, wherever it stands in the log.
  const keepFrom = Math.min(upTo + 1, pending[0]?.seq ?? Infinity);
  return { ...summary, wanted: { upTo, keepFrom } };
}

function endSummary(
  state: SessionState,
  event: EventOf<'history_summarized' | 'summary_failed'>,
): SessionState {
  const { wanted } = state.summary;
  const upTo = event.up_to_seq;
  if (wanted?.upTo !== upTo) return state;
  const summary =
    event.type === 'history_summarized'
      ? { upTo, seq: event.seq, keepFrom: wanted.keepFrom, wanted: null, failed: 0 }
      : { ...state.summary, wanted: null, failed: upTo };
  return { ...state, summary };
}

function failCall(turn: OpenTurn, event: EventOf<'model_call_failed'>): OpenTurn {
  if (turn.phase !== 'model' || turn.step !== event.step) return turn;
  const usage = addUsage(turn.usage, event.usage);
  const error = { code: event.error.code, message: event.error.message };
  const retry = event.retry;
  if (retry === undefined) return { ...turn, phase: 'failed', error, usage };
  return {
    ...turn,
    attempt: event.attempt + 1,
    failures: retry.candidate === turn.candidate ? turn.failures + 1 : 0,
    candidate: retry.candidate,
    retryAt: retry.at,
    phaseSeq: event.seq,
    error,
    usage,
  };
}

function changeCall(turn: OpenTurn, event: CallEvent): OpenTurn {
  const calls = turn.calls.map((call) =>
    call.call === event.call ? evolveCall(call, event) : call,
  );
  return keepTime({ ...turn, calls }, event.at);
}

function finishCall(turn: OpenTurn, event: EventOf<'tool_finished'>): OpenTurn {
  const calls = turn.calls.map((call) => (call.call === event.call ? finishedCall(call) : call));
  if (turn.phase !== 'tools' || calls.some((call) => call.status !== 'finished')) {
    return keepTime({ ...turn, calls }, event.at);
  }
  return keepTime({ ...turn, ...freshStep(turn.step + 1, event.seq) }, event.at);
}

/** Counts no time in which the turn waits for people. */
function keepTime(turn: OpenTurn, at: string): OpenTurn {
  const works = turn.paused === null && !waitsForPeople(turn);
  if (works === (turn.workingSince !== null)) return turn;
  return { ...turn, workedMs: workedMs(turn, at), workingSince: works ? at : null };
}

function charge(state: SessionState, usage: Usage | undefined): SessionState {
  return usage === undefined ? state : { ...state, usage: addUsage(state.usage, usage) };
}

/** Two usages added; a count that only one of them has is kept. */
function addUsage(sum: Usage, more: Usage | undefined): Usage {
  if (more === undefined) return sum;
  const total: Usage = {
    input_tokens: plus(sum.input_tokens, more.input_tokens),
    output_tokens: plus(sum.output_tokens, more.output_tokens),
  };
  for (const name of ['cache_read_tokens', 'cache_write_tokens', 'reasoning_tokens'] as const) {
    const value = plus(sum[name] ?? 0, more[name] ?? 0);
    if (value > 0) total[name] = value;
  }
  // Whole billionths, so that sums of many do not drift.
  const usd = Math.round(((sum.usd ?? 0) + (more.usd ?? 0)) * 1e9) / 1e9;
  return usd > 0 ? { ...total, usd } : total;
}

/** A sum that a record may hold: counts come from servers that may say anything. */
function plus(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

/** Working time of a turn up to an instant, in ms; what a jump of the clock took back counts as 0. */
export function workedMs(turn: OpenTurn, at: string): number {
  return turn.workedMs + (turn.workingSince === null ? 0 : ageMs(turn.workingSince, at));
}

function ageMs(from: string, to: string): number {
  const age = Date.parse(to) - Date.parse(from);
  return Number.isFinite(age) ? Math.max(0, age) : 0;
}
