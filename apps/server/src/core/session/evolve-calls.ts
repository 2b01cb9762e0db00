import type { EventOf } from '@duragent/protocol';
import { MAX_CALLS, type OpenCall, type OpenTurn } from './state.ts';

/** Events about one tool call of the open turn. */
export type CallEvent = EventOf<
  | 'approval_requested'
  | 'approval_decided'
  | 'question_asked'
  | 'question_answered'
  | 'tool_started'
>;

/** The calls of an answer, as they begin. */
export function proposedCalls(event: EventOf<'assistant_message'>): OpenCall[] {
  return event.tool_calls.slice(0, MAX_CALLS).map((call) => ({
    call: call.call,
    status: 'proposed',
    effect: call.effect ?? 'effectful',
    onInterrupt: call.on_interrupt ?? 'tell_model',
    seq: event.seq,
  }));
}

/** The call that an event names, after it; as it was where the event does not fit. */
export function evolveCall(call: OpenCall, event: CallEvent): OpenCall {
  const { seq } = event;
  switch (event.type) {
    case 'approval_requested': {
      if (call.status !== 'proposed') return call;
      const { approval, hash, always, expires_at } = event;
      return {
        ...call,
        status: 'asked',
        seq,
        approval: { approval, hash, always: always !== null, expires_at },
        asks: (call.asks ?? 0) + 1,
      };
    }
    case 'approval_decided': {
      if (call.approval?.approval !== event.approval) return call;
      const { decision, by } = event;
      if (call.status === 'decided' && decision === 'expire') {
        // Allowed too long ago: it is judged again.
        const { approval: _, ...rest } = call;
        return { ...rest, status: 'proposed', seq };
      }
      if (call.status !== 'asked') return call;
      const approval = { ...call.approval, decision, by, decided_at: event.at };
      return { ...withoutCards(call), status: 'decided', seq, approval };
    }
    case 'question_asked': {
      // One that was cut is asked about while it is started.
      if (call.status !== (event.interrupted ? 'started' : 'proposed')) return call;
      const { question, choices = [], expires_at } = event;
      return {
        ...call,
        status: 'asked',
        seq,
        question: { question, choices: choices.length, expires_at },
      };
    }
    case 'question_answered':
      return call.status === 'asked' && call.question?.question === event.question
        ? { ...withoutCards(call), status: 'decided', seq }
        : call;
    case 'tool_started': {
      if (call.status === 'finished') return call;
      const { effect, on_interrupt: onInterrupt, hash } = event;
      const started = { call: call.call, status: 'started' as const, effect, onInterrupt, seq };
      return { ...started, ...(hash === undefined ? {} : { hash }) };
    }
  }
}

/** The cards that asked are told what became of it by the event itself. */
function withoutCards(call: OpenCall): OpenCall {
  const { cards: _, ...rest } = call;
  return rest;
}

/** A call with its result. */
export function finishedCall({ call, effect, onInterrupt, seq }: OpenCall): OpenCall {
  return { call, status: 'finished', effect, onInterrupt, seq };
}

/**
 * Whether a call may begin: those before it have ended, but for calls without effect, which it may
 * join. People are asked about one call at a time.
 */
export function mayBegin(turn: OpenTurn, call: OpenCall): boolean {
  return turn.calls.slice(0, turn.calls.indexOf(call)).every(({ status, effect }) => {
    if (status === 'finished') return true;
    const isAlone = status === 'asked' || status === 'decided';
    return !isAlone && effect === 'pure' && call.effect === 'pure';
  });
}

/** Whether people have to speak before the turn can do anything more. */
export function waitsForPeople(turn: OpenTurn): boolean {
  if (turn.phase !== 'tools') return false;
  let isAsked = false;
  for (const call of turn.calls) {
    if (call.status === 'started' || call.status === 'decided') return false;
    if (call.status === 'proposed' && mayBegin(turn, call)) return false;
    isAsked ||= call.status === 'asked';
  }
  return isAsked;
}
