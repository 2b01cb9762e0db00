import type { Usage } from '@duragent/protocol';
import { summaryRequest, tidySummary } from '../core/context/summary-request.ts';
import type { Effect } from '../core/session/next.ts';
import { estimateTokens } from '../core/utf8.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { LanguageModel, ModelChunk } from '../ports/language-model.ts';
import type { BudgetKeeper } from './budgets.ts';
import type { EffectScope } from './effects.ts';
import { knownSummary } from './known-summary.ts';
import { requesterOf } from './rules.ts';
import type { Slots } from './slots.ts';
import { StallGuard } from './stall-guard.ts';

/** It has time, and a session that is opened and closed again at once, as at a start, needs none: in ms. */
const DELAY_MS = 1_000;
/** What a summary may cost, in tokens: more than it may be long, because some models think first. */
const MAX_OUTPUT_TOKENS = 4096;
/** A model that streams more than this, in characters, does not do what it is asked for. */
const MAX_STREAMED = 256 * 1024;

type Summarize = Extract<Effect, { type: 'summarize' }>;
type SummaryInput = Extract<SessionInput, { type: 'summary_finished' | 'summary_failed' }>;

/**
 * Has the agent's model sum up what a session will no longer show it. Tried once; a failure ends
 * in an input like a summary does. After the signal aborted it ends soon, and does not count.
 */
export async function summarizeHistory(
  effect: Summarize,
  scope: EffectScope,
  deps: {
    models: LanguageModel;
    clock: Clock;
    slots: Slots;
    budgets: BudgetKeeper;
    signal: AbortSignal;
  },
): Promise<SummaryInput> {
  const { agent } = scope;
  const failed = (code: string, message: string, model: string, usage?: Usage): SummaryInput => ({
    type: 'summary_failed',
    up_to_seq: effect.upTo,
    error: { code, message },
    model,
    ...(usage ? { usage } : {}),
  });
  await sleep(deps.clock, DELAY_MS, deps.signal);
  const known = await knownSummary(scope);
  const asked = agent && summaryRequest(agent, scope.current(), known(), effect.upTo);
  if (!agent) {
    return failed('agent_not_found', `The agent ${scope.agentName} cannot be loaded any more.`, '');
  }
  if (!asked) return failed('history_gone', 'What was to be summed up is no longer at hand.', '');
  const release = await deps.slots.acquire(deps.signal);
  const stall = new StallGuard(deps.clock, deps.signal);
  let settle = (): unknown => undefined;
  try {
    const [own] = agent.models;
    const model = await deps.models.resolve({
      ...own,
      maxOutputTokens: Math.min(own.maxOutputTokens, MAX_OUTPUT_TOKENS),
    });
    const { system, text } = asked;
    const desk = await deps.budgets.open(agent);
    const { state, window } = scope.current();
    const inputTokens = estimateTokens(system) + estimateTokens(text);
    const reservation = desk.reserve({
      session: state.session,
      call: { summary: effect.upTo },
      sessionUsd: state.usage.usd ?? 0,
      agent,
      sender: requesterOf(window, state.turn?.trigger ?? []),
      model,
      inputTokens,
      maxOutputTokens: model.maxOutputTokens,
    });
    const label = `${model.provider}/${model.name}`;
    if (!reservation.ok) return failed(reservation.code, reservation.message, label);
    settle = () => reservation.settle(null);
    const messages = [{ role: 'user' as const, text }];
    const chunks = deps.models.stream(
      { model, agent: agent.name, system, messages, tools: [], inputTokens },
      { signal: stall.signal },
    );
    let streamed = 0;
    for await (const chunk of chunks) {
      stall.touch();
      if (chunk.type === 'failed') {
        if (!chunk.usage && streamed === 0) reservation.release();
        const spent = reservation.settle(chunk.usage ?? null);
        return failed(chunk.error.code, chunk.error.message, chunk.model, spent);
      }
      if (chunk.type === 'done') {
        const usage = reservation.settle(chunk.usage ?? null);
        const summary = tidySummary(textOf(chunk));
        if (summary === null) return failed('model_bad_answer', EMPTY, chunk.model, usage);
        const { model: by } = chunk;
        const spent = usage ? { usage } : {};
        return { type: 'summary_finished', up_to_seq: effect.upTo, summary, model: by, ...spent };
      }
      streamed += chunk.text.length;
      if (streamed > MAX_STREAMED) break;
    }
    return failed('model_bad_answer', ENDLESS, label, reservation.settle(null));
  } finally {
    settle();
    stall.stop({ isWhole: false });
    release();
  }
}

const EMPTY = 'The model answered with nothing.';
const ENDLESS = 'The model ended without an answer, or would not end.';

function textOf(chunk: Extract<ModelChunk, { type: 'done' }>): string {
  return chunk.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('');
}
