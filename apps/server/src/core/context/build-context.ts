import type { GivenContext, ToolCall } from '@duragent/protocol';
import type { Agent, ModelRef } from '../agent.ts';
import type { SessionState } from '../session/state.ts';
import type { ConversationWindow, WindowEvent } from '../session/window.ts';
import { estimateTokens } from '../utf8.ts';
import { firstShown, fit, showResult } from './fit.ts';
import type { Context, ContextMessage } from './message.ts';
import { historyBudget, tokenFactor } from './model-window.ts';
import { shorten } from './tool-results.ts';
import { arrange, type Unit } from './units.ts';

/** Tells the model that it does not see everything. */
export const CUT_NOTE = '[The earlier part of this conversation is left out here.]';

/** Part of the history's budget that the request in work may take once it would be left out. */
const PINNED = 0.25;

/**
 * What a model call is given: the system text, the summary of what was said long ago, and the
 * newest conversation as far as it fits `max_history_tokens` and the model's window. An unchanged
 * beginning stays byte-identical from call to call.
 */
export function buildContext(input: {
  agent: Agent;
  model: ModelRef;
  /** The state and the window of the same record. */
  state: Pick<SessionState, 'turn' | 'pending' | 'summary'>;
  window: ConversationWindow;
  /** The text of the summary that the state names; null: there is none. */
  summary: string | null;
  system: string;
  /** Estimated tokens of the system text and of what the model is told of its tools. */
  prompt: number;
}): Context {
  const { agent, model, state, window } = input;
  // What the open turn answers is shown whatever is left out.
  const trigger = state.turn?.trigger ?? [];
  const { events } = window;
  const { session, access } = agent;
  const { upTo } = state.summary;
  const head = input.summary === null ? '' : summaryText(input.summary);
  const headTokens = estimateTokens(head);
  const factor = tokenFactor(events);
  const beside = input.prompt + headTokens;
  const budget = historyBudget(model, session.maxHistoryTokens, { beside, factor });

  const all = arrange(window, state.pending, access.groups.contextBuffer);
  const isTrigger = (unit: Unit): boolean =>
    unit.kind === 'said' && trigger.includes(unit.messageId);
  const old = all.findIndex((unit) => unit.at > upTo);
  const units = old < 0 ? [] : all.slice(old);
  const before = (old < 0 ? all : all.slice(0, old)).filter(isTrigger);
  // Not of the budget itself, which may change within the turn.
  const room = historyBudget(model, session.maxHistoryTokens, { beside: input.prompt, factor: 1 });
  const pinTokens = Math.floor((PINNED * room) / Math.max(1, trigger.length));
  const pin = (unit: Unit): Pinned => pinned(unit, pinTokens);
  const beforeTokens = before.reduce((sum, unit) => sum + pin(unit).tokens, 0);

  const last = lastGiven(events);
  const cut = fit(
    units,
    { from: Math.max(last?.from_seq ?? 1, upTo + 1, window.start), masked: last?.masked_seq ?? 0 },
    {
      budget: budget - beforeTokens,
      rules: session,
      pinned: new Map(
        units.flatMap((unit, i) => (isTrigger(unit) ? [[i, pin(unit).tokens] as const] : [])),
      ),
      summary: session.summarize && !state.summary.wanted ? state.summary : null,
    },
  );
  const first = firstShown(units, cut.from);
  const isCut = first > 0 || window.start > upTo + 1;
  const kept = [...before, ...units.slice(0, first).filter(isTrigger)].map((unit) => pin(unit));
  const shown = show(units.slice(first), cut.masked, session);
  const notes = [head, isCut ? CUT_NOTE : ''].filter((text) => text !== '').join('\n\n');
  return {
    system: input.system,
    messages: [
      ...(notes === '' ? [] : [{ role: 'user' as const, text: notes }]),
      ...kept.map(({ message }) => message),
      ...shown.messages,
    ],
    given: {
      from_seq: cut.from,
      masked_seq: cut.masked,
      tokens: beside + kept.reduce((sum, { tokens }) => sum + tokens, 0) + shown.tokens,
      ...(cut.summarizeUpTo === null ? {} : { summarize_seq: cut.summarizeUpTo }),
    },
  };
}

/** The summary as the model is told it, always in the same place and words. */
function summaryText(summary: string): string {
  return `[Summary of the earlier conversation: ${summary}]`;
}

/** The text of the summary that the state names, where the window still has it. */
export function summaryIn(window: ConversationWindow, { seq }: { seq: number }): string | null {
  if (seq === 0) return null;
  const event = window.events.findLast((one) => one.type === 'history_summarized');
  return event?.type === 'history_summarized' && event.seq === seq ? event.summary : null;
}

/** What the last call that is on record was given. */
function lastGiven(events: readonly WindowEvent[]): GivenContext | undefined {
  for (let i = events.length - 1; i >= 0; i -= 1) {
    const event = events[i];
    if (event?.type === 'assistant_message' && event.given) return event.given;
  }
  return undefined;
}

interface Pinned {
  message: ContextMessage;
  tokens: number;
}

/** A request that is shown although the conversation around it is left out: its beginning, where it is long. */
function pinned(unit: Unit, maxTokens: number): Pinned {
  if (unit.kind !== 'said') return { message: { role: 'user', text: '' }, tokens: 0 };
  const { message, tokens } = unit;
  if (tokens <= maxTokens) return { message, tokens };
  const text = shorten(message.text, { maxTokens, truncation: 'head' }, 'this message');
  return { message: { ...message, text }, tokens: estimateTokens(text) };
}

/** The units as messages. A call without a result, in a log that was mended, is told so. */
function show(
  units: readonly Unit[],
  masked: number,
  rules: Agent['session'],
): { messages: ContextMessage[]; tokens: number } {
  const messages: ContextMessage[] = [];
  let tokens = 0;
  let number = 0;
  for (const unit of units) {
    tokens += unit.tokens;
    if (unit.kind === 'said') {
      messages.push(unit.message);
      continue;
    }
    const { content, tool_calls: toolCalls } = unit.answer;
    messages.push({ role: 'assistant', content, toolCalls });
    if (toolCalls.length === 0) continue;
    const results = unit.results.map(({ event, call }) => {
      const shown = showResult(event, number, masked, rules);
      number += 1;
      tokens += shown.tokens;
      return { ...nameOf(toolCalls, call), content: shown.content };
    });
    for (const call of toolCalls.keys()) {
      if (unit.results.some((result) => result.call === call)) continue;
      results.push({ ...nameOf(toolCalls, call), content: NO_RESULT });
    }
    messages.push({ role: 'tool', results });
  }
  return { messages, tokens };
}

const NO_RESULT = '[No result was recorded.]';

function nameOf(calls: readonly ToolCall[], index: number) {
  const { provider_call_id = '', name = '' } = calls[index] ?? {};
  return { providerCallId: provider_call_id, name };
}
