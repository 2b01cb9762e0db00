import { type GivenContext, MAX_RECORD_BYTES, type ToolCall, type Usage } from '@duragent/protocol';
import type { Agent } from '../core/agent.ts';
import { buildContext } from '../core/context/build-context.ts';
import type { Effect } from '../core/session/next.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import { estimateTokens, utf8Length } from '../core/utf8.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { LanguageModel, ModelChunk, ModelFailure, ToolSpec } from '../ports/language-model.ts';
import type { Tool, Toolbox } from '../ports/tool.ts';
import type { BudgetKeeper } from './budgets.ts';
import type { EffectScope } from './effects.ts';
import { newId } from './ids.ts';
import { knownSummary } from './known-summary.ts';
import { requesterOf } from './rules.ts';
import type { Slots } from './slots.ts';
import { STALL_MS, StallGuard } from './stall-guard.ts';
import type { TurnPrompts } from './turn-prompts.ts';

/** The longest time that a next try is waited for, should the wall clock have jumped. */
const MAX_WAIT_MS = 90_000;
/** What an answer may take in its record, which holds more than the answer. */
const MAX_ANSWER_BYTES = MAX_RECORD_BYTES - 64 * 1024;

type CallModel = Extract<Effect, { type: 'call_model' }>;
type ModelInput = Extract<SessionInput, { type: 'model_finished' | 'model_failed' }>;

/** Makes the model calls of turns. */
export class ModelCaller {
  readonly #models: LanguageModel;
  readonly #toolbox: Toolbox;
  readonly #prompts: TurnPrompts;
  readonly #budgets: BudgetKeeper;
  readonly #clock: Clock;
  readonly #slots: Slots;
  /** What the last call answered could not be written: until something is, none is made before that. */
  #isDiskInDoubt = false;

  constructor(deps: {
    models: LanguageModel;
    toolbox: Toolbox;
    prompts: TurnPrompts;
    budgets: BudgetKeeper;
    clock: Clock;
    slots: Slots;
  }) {
    this.#models = deps.models;
    this.#toolbox = deps.toolbox;
    this.#prompts = deps.prompts;
    this.#budgets = deps.budgets;
    this.#clock = deps.clock;
    this.#slots = deps.slots;
  }

  /**
   * Calls a model and gives the input that it ends in. After the signal aborted it ends soon, by a
   * rejection or an input; neither counts.
   */
  async call(effect: CallModel, scope: EffectScope, signal: AbortSignal): Promise<SessionInput> {
    const model = scope.agent?.models[effect.candidate];
    if (!scope.agent || !model) {
      return failed(effect, scope.agentName, {
        code: 'agent_not_found',
        message: `The agent ${scope.agentName} cannot be loaded any more; put its files back (duragent agent validate) and send a message.`,
        retryable: false,
      });
    }
    if (effect.notBefore !== null) {
      const wait = Math.min(Date.parse(effect.notBefore) - this.#clock.now(), MAX_WAIT_MS);
      if (wait > 0) await sleep(this.#clock, wait, signal);
    }
    if (this.#slots.isFull) scope.queued(true);
    const release = await this.#slots.acquire(signal);
    try {
      scope.queued(false);
      return await this.#stream(effect, scope, scope.agent, signal);
    } finally {
      release();
    }
  }

  async #stream(
    effect: CallModel,
    scope: EffectScope,
    agent: Agent,
    signal: AbortSignal,
  ): Promise<ModelInput> {
    const { turn, step, attempt } = effect;
    const model = await this.#models.resolve(agent.models[effect.candidate] ?? agent.models[0]);
    const [tools, prompt, desk] = await Promise.all([
      this.#toolbox.toolsOf(agent, { signal }),
      this.#prompts.of(turn, agent, scope.current()),
      this.#budgets.open(agent),
    ]);
    const summary = await knownSummary(scope);
    if (this.#isDiskInDoubt) await scope.durable();
    // What is no longer wanted is not called, nor charged as if it were.
    signal.throwIfAborted();
    // Nothing is waited for between this look and the call: it is what the record says it saw.
    const { state, window } = scope.current();
    const label = `${model.provider}/${model.name || model.provider}`;
    const isDurable = scope.durable();
    const specs = [...tools.values()].map(toSpec);
    const { given, ...context } = buildContext({
      agent,
      model,
      state,
      window,
      summary: summary(),
      system: prompt.system,
      prompt: prompt.tokens + specs.reduce((sum, spec) => sum + spec.tokens, 0),
    });
    const reservation = desk.reserve({
      session: state.session,
      call: { turn, step, attempt },
      sessionUsd: state.usage.usd ?? 0,
      agent,
      sender: requesterOf(window, state.turn?.trigger ?? []),
      model,
      inputTokens: given.tokens,
      maxOutputTokens: model.maxOutputTokens,
    });
    if (!reservation.ok) {
      await isDurable;
      return failed(effect, label, reservation);
    }
    scope.calling({ inputSeq: state.seq, model: label, reserved: reservation.reserved });
    const stall = new StallGuard(this.#clock, signal);
    isDurable.then(
      () => {
        this.#isDiskInDoubt = false;
      },
      () => {
        this.#isDiskInDoubt = true;
      },
    );
    const offsets = { text: 0, reasoning: 0 };
    let isWhole = false;
    try {
      const chunks = this.#models.stream(
        {
          model,
          agent: agent.name,
          ...context,
          tools: specs.map(({ spec }) => spec),
          inputTokens: given.tokens,
        },
        { signal: stall.signal },
      );
      let bytes = 0;
      for await (const chunk of chunks) {
        stall.touch();
        if (chunk.type === 'done' || chunk.type === 'failed') {
          isWhole = true;
          const { isStalled } = stall;
          const wasRefused = chunk.type === 'failed' && !chunk.usage && bytes === 0;
          if (wasRefused && !isStalled && !signal.aborted) reservation.release();
          const usage = reservation.settle(chunk.usage ?? null);
          return ended(effect, chunk, { inputSeq: state.seq, given, isStalled, tools, usage });
        }
        bytes += utf8Length(JSON.stringify(chunk.text));
        if (bytes > MAX_ANSWER_BYTES) return tooLarge(effect, label, reservation.settle(null));
        const offset = offsets[chunk.type];
        offsets[chunk.type] += chunk.text.length;
        if (signal.aborted) continue;
        const type = chunk.type === 'text' ? 'token' : 'reasoning';
        // Nobody sees it before what it answers is on disk.
        scope.show({ type, turn, step, attempt, offset, text: chunk.text }, state.seq);
      }
      const error = {
        code: 'model_bad_answer',
        message: 'The model ended without an answer.',
        retryable: true,
      };
      return failed(effect, label, error, reservation.settle(null));
    } finally {
      // One that was aborted may have cost all that it could.
      reservation.settle(null);
      stall.stop({ isWhole });
    }
  }
}

/** Tools are measured once: all of them go along with every call. */
const toolTokens = new WeakMap<object, number>();

function toSpec({ name, description, parameters }: Tool): { spec: ToolSpec; tokens: number } {
  const spec = { name, description, parameters };
  let tokens = toolTokens.get(parameters);
  if (tokens === undefined) {
    tokens = estimateTokens(JSON.stringify(spec));
    toolTokens.set(parameters, tokens);
  }
  return { spec, tokens };
}

function ended(
  effect: CallModel,
  chunk: Extract<ModelChunk, { type: 'done' | 'failed' }>,
  call: {
    inputSeq: number;
    given: GivenContext;
    isStalled: boolean;
    tools: ReadonlyMap<string, Tool>;
    /** What it is charged with. */
    usage: Usage | undefined;
  },
): ModelInput {
  const { turn, step, attempt } = effect;
  if (chunk.type === 'failed') {
    const error = call.isStalled
      ? {
          code: 'model_stalled',
          message: `The model sent nothing for ${STALL_MS / 1000} s.`,
          retryable: true,
        }
      : chunk.error;
    return failed(effect, chunk.model, error, call.usage);
  }
  if (utf8Length(JSON.stringify([chunk.content, chunk.toolCalls])) > MAX_ANSWER_BYTES) {
    return tooLarge(effect, chunk.model, call.usage);
  }
  return {
    type: 'model_finished',
    turn,
    step,
    attempt,
    message_id: newId('msg'),
    input_seq: call.inputSeq,
    given: call.given,
    content: chunk.content,
    tool_calls: chunk.toolCalls.map((asked) => ({
      call: newId('call'),
      ...asked,
      ...kindOf(call.tools.get(asked.name)),
    })),
    finish_reason: chunk.finishReason,
    ...(call.usage ? { usage: call.usage } : {}),
    model: chunk.model,
  };
}

/** What is recorded of a tool with its call, so that it holds whatever becomes of the tool. */
function kindOf(tool: Tool | undefined): Pick<ToolCall, 'effect' | 'on_interrupt'> {
  return tool ? { effect: tool.effect, on_interrupt: tool.onInterrupt } : {};
}

function tooLarge(effect: CallModel, model: string, usage?: Usage): ModelInput {
  const error = {
    code: 'answer_too_large',
    message: `The answer is larger than a record may be (${MAX_ANSWER_BYTES} bytes); lower max_output_tokens or ask for less.`,
    retryable: false,
  };
  return failed(effect, model, error, usage);
}

function failed(
  effect: CallModel,
  model: string,
  error: ModelFailure,
  usage?: Extract<ModelChunk, { type: 'failed' }>['usage'],
): ModelInput {
  const { turn, step, attempt } = effect;
  return {
    type: 'model_failed',
    turn,
    step,
    attempt,
    model,
    error: { code: error.code, message: error.message },
    retryable: error.retryable,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(usage ? { usage } : {}),
  };
}
