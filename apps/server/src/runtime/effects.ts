import type { DraftDelta, StoredEvent, Usage } from '@duragent/protocol';
import type { Agent } from '../core/agent.ts';
import type { Surroundings } from '../core/context/system-text.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import type { Effect } from '../core/session/next.ts';
import type { SessionState } from '../core/session/state.ts';
import type { ConversationWindow } from '../core/session/window.ts';
import { type Clock, sleepUntil } from '../ports/clock.ts';
import type { LanguageModel } from '../ports/language-model.ts';
import { cutCall } from '../core/budget/cut-call.ts';
import type { BudgetKeeper } from './budgets.ts';
import type { Chats } from './chats.ts';
import { deliver } from './deliver.ts';
import { ModelCaller } from './model-call.ts';
import { requesterOf } from './rules.ts';
import { Slots } from './slots.ts';
import { summarizeHistory } from './summarize-history.ts';
import { type CallDeps, CallRunner } from './tools/call-runner.ts';
import { TurnPrompts } from './turn-prompts.ts';

/** What an effect may see and show of its session. */
export interface EffectScope {
  /** The agent of the open turn; null: its files are gone. */
  readonly agent: Agent | null;
  readonly agentName: string;
  /** State and conversation now. */
  current(): { state: SessionState; window: ConversationWindow };
  /** Resolves when everything decided so far is on disk. Rejects when it cannot be. */
  durable(): Promise<void>;
  /** Says which model is asked now, and the last seq it sees. */
  calling(call: { inputSeq: number; model: string; reserved: Usage | undefined }): void;
  /** Shows a fragment of the work to readers, behind the record `after` where it is not durable yet. */
  show(delta: DraftDelta, after?: number): void;
  /** Says that the work waits for a place, or no longer does. */
  queued(isQueued: boolean): void;
  /** Says that it is under way now, and should be let to its end. */
  busy(): void;
  /** The durable event with this seq. */
  event(seq: number): Promise<StoredEvent | undefined>;
  /** Submits an input before the one that the work ends in. Resolves when it is durable. */
  submit(input: SessionInput): Promise<void>;
}

/** Does the work that sessions owe. One for all of them. */
export class EffectRunner {
  readonly #models: LanguageModel;
  readonly #caller: ModelCaller;
  readonly #calls: CallRunner;
  readonly #clock: Clock;
  readonly #slots: Slots;
  readonly #chats: Chats;
  readonly #budgets: BudgetKeeper;

  constructor(deps: {
    models: LanguageModel;
    calls: CallDeps;
    budgets: BudgetKeeper;
    /** Read once for each turn, before its first call. */
    surroundings: (agent: Agent) => Promise<Surroundings>;
    clock: Clock;
    timezone: string | null;
    maxConcurrent: number;
    chats: Chats;
  }) {
    const { models, calls, clock, surroundings, timezone, budgets } = deps;
    this.#budgets = budgets;
    this.#chats = deps.chats;
    this.#models = models;
    this.#calls = new CallRunner(calls);
    this.#clock = clock;
    this.#slots = new Slots(deps.maxConcurrent);
    const prompts = new TurnPrompts({ surroundings, timezone, clock });
    const { toolbox } = calls;
    this.#caller = new ModelCaller({
      models,
      toolbox,
      prompts,
      budgets,
      clock,
      slots: this.#slots,
    });
  }

  /** The chats that sessions are shown in. */
  get chats(): Chats {
    return this.#chats;
  }

  /**
   * What recovering a session charges: the model call that was under way when its log was last
   * left; null: none was, or it costs nothing.
   */
  async chargeCut(
    { state, window }: { state: SessionState; window: ConversationWindow },
    agent: Agent,
  ): Promise<{ usage: Usage; model: string } | null> {
    const cut = cutCall(state, window, agent, this.#clock.now());
    const asked = cut && agent.models[cut.candidate];
    if (!cut || !asked) return null;
    const model = await this.#models.resolve(asked);
    const { turn, step, attempt, inputTokens, maxOutputTokens } = cut;
    const usage = await this.#budgets.chargeCut({
      session: state.session,
      call: { turn, step, attempt },
      agent,
      sender: requesterOf(window, state.turn?.trigger ?? []),
      model,
      inputTokens,
      maxOutputTokens,
    });
    return usage ? { usage, model: `${model.provider}/${model.name || model.provider}` } : null;
  }

  /**
   * Does one effect and gives the input that it ends in. After the signal aborted it ends soon,
   * by a rejection or an input; neither counts.
   */
  async run(effect: Effect, scope: EffectScope, signal: AbortSignal): Promise<SessionInput> {
    switch (effect.type) {
      case 'call_model':
        return this.#caller.call(effect, scope, signal);
      case 'summarize':
        return summarizeHistory(effect, scope, {
          models: this.#models,
          clock: this.#clock,
          slots: this.#slots,
          budgets: this.#budgets,
          signal,
        });
      case 'judge_call':
        return this.#calls.judge(effect, scope);
      case 'run_tool':
        return this.#calls.run(effect, scope, signal);
      case 'wait_until':
        await sleepUntil(this.#clock, effect.at, signal);
        return effect.input;
      case 'deliver':
        return deliver(effect, scope, { chats: this.#chats, clock: this.#clock, signal });
    }
  }
}
