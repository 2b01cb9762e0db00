import type { SessionEvent, ToolCall } from '@duragent/protocol';
import type { Agent } from '../agent.ts';
import { type Fold, foldOn } from '../session/fold.ts';
import { next } from '../session/next.ts';
import type { SessionInput } from '../session/session-input.ts';
import { initialState } from '../session/state.ts';
import { answer, Drive, START } from '../session/testing.ts';
import { emptyWindow } from '../session/window.ts';
import { plainAgent } from '../testing.ts';
import { buildContext, summaryIn } from './build-context.ts';
import type { Context } from './message.ts';

/** An agent of a test, with little room. */
export function contextAgent(change: Partial<Agent['session']> = {}): Agent {
  return plainAgent({
    model: { provider: 'openai', name: 'gpt-5' },
    soul: 'You are {{agent.name}}.',
    systemPrompt: 'It is {{date}} {{time}}. {{unknown}} stays.',
    session: { maxToolIterations: 100, maxToolResultTokens: 50, summarize: false, ...change },
  });
}

/** What a call is given at the end of a log. */
export function contextOf(
  fold: Fold,
  agent: Agent = contextAgent(),
  summary = summaryIn(fold.window, fold.state.summary),
): Context {
  return buildContext({
    agent,
    model: agent.models[0],
    ...fold,
    system: 'Be helpful.',
    summary,
    prompt: 3,
  });
}

export const calls = (...ids: string[]): ToolCall[] =>
  ids.map((id) => ({
    call: `call_${id}`,
    provider_call_id: id,
    name: 'read',
    arguments: {},
    effect: 'pure' as const,
  }));

export const spoken = (text: string) => [{ type: 'text' as const, text }];

export function result(turn: string | undefined, id: string, content: string): SessionInput {
  const call = `call_${id}`;
  const details = {};
  return { type: 'tool_result', turn: turn ?? '', call, outcome: 'ok', content, details };
}

/** A session that is talked with: each answer was given what `buildContext` gives, as in a server. */
export class Talk {
  readonly agent: Agent;
  readonly drive: Drive;
  fold: Fold = { state: initialState(), window: emptyWindow() };
  /** What each call was given, oldest first. */
  readonly contexts: Context[] = [];
  /** What becomes of a summary that is owed; null: it is still made. */
  onSummary: (upTo: number) => 'summarized' | 'failed' | null = () => 'summarized';
  #summaries = 0;

  constructor(agent: Agent, rules: ConstructorParameters<typeof Drive>[0] = {}) {
    this.agent = agent;
    this.drive = new Drive(rules);
    const { maxHistoryTokens: max_history_tokens } = agent.session;
    this.drive.rules.limits = {
      ...this.drive.rules.limits,
      max_tool_iterations: 10_000,
      max_history_tokens,
    };
    this.submit(START);
  }

  submit(input: SessionInput): SessionEvent[] {
    const before = this.drive.events.length;
    this.drive.submit(input);
    const events = this.drive.events.slice(before);
    this.fold = foldOn(this.fold, events);
    return events;
  }

  /** The model is called, and answers. @param text with how many characters. */
  answer(text: string, toolCalls: ToolCall[] = []): Context {
    const { state } = this.fold;
    const context = contextOf(this.fold, this.agent, this.summary);
    this.contexts.push(context);
    const content = text === '' ? [] : spoken(text);
    const { given } = context;
    this.submit(answer(state, { content, tool_calls: toolCalls, given }));
    this.summarize();
    return context;
  }

  /** The text of the summary, wherever it is by now. */
  get summary(): string | null {
    const record = this.drive.events[this.fold.state.summary.seq - 1];
    return record?.type === 'history_summarized' ? record.summary : null;
  }

  /** What is owed to the model is done. */
  summarize(): void {
    for (const effect of next(this.fold.state)) {
      if (effect.type !== 'summarize') continue;
      const { upTo: up_to_seq } = effect;
      const made = this.onSummary(up_to_seq);
      const error = { code: 'model_unavailable', message: 'It does not answer.' };
      if (made === 'failed') this.submit({ type: 'summary_failed', up_to_seq, error, model: 'm' });
      if (made !== 'summarized') continue;
      this.#summaries += 1;
      const summary = `summary ${this.#summaries} up to ${up_to_seq}`;
      this.submit({ type: 'summary_finished', up_to_seq, summary, model: 'm' });
    }
  }
}
