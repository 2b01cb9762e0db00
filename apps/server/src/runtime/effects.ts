import {
  type DraftDelta,
  MAX_RECORD_BYTES,
  type StoredEvent,
  type ToolCall,
} from '@duragent/protocol';
import type { Agent } from '../core/agent.ts';
import { buildContext } from '../core/context.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import type { Effect } from '../core/session/next.ts';
import type { SessionState } from '../core/session/state.ts';
import type { ConversationWindow } from '../core/session/window.ts';
import { utf8Length } from '../core/utf8.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { LanguageModel, ModelChunk, ModelFailure } from '../ports/language-model.ts';
import type { Tool } from '../ports/tool.ts';
import type { Chats } from './chats.ts';
import { deliver } from './deliver.ts';
import { newId } from './ids.ts';
import { Slots } from './slots.ts';

/** A model call that shows nothing for so long has failed. */
const STALL_MS = 120_000;
/** The longest time that a next try is waited for, should the wall clock have jumped. */
const MAX_WAIT_MS = 90_000;
/** What an answer may take in its record, which holds more than the answer. */
const MAX_ANSWER_BYTES = MAX_RECORD_BYTES - 64 * 1024;

type CallModel = Extract<Effect, { type: 'call_model' }>;
type RunTool = Extract<Effect, { type: 'run_tool' }>;
type ModelInput = Extract<SessionInput, { type: 'model_finished' | 'model_failed' }>;

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
  calling(call: { inputSeq: number; model: string }): void;
  /** Shows a fragment of the work to readers. */
  show(delta: DraftDelta): void;
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
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #clock: Clock;
  readonly #timezone: string | null;
  readonly #slots: Slots;
  readonly #chats: Chats;

  constructor(deps: {
    models: LanguageModel;
    tools: ReadonlyMap<string, Tool>;
    clock: Clock;
    timezone: string | null;
    maxConcurrent: number;
    chats: Chats;
  }) {
    this.#chats = deps.chats;
    this.#models = deps.models;
    this.#tools = deps.tools;
    this.#clock = deps.clock;
    this.#timezone = deps.timezone;
    this.#slots = new Slots(deps.maxConcurrent);
  }

  /** The chats that sessions are shown in. */
  get chats(): Chats {
    return this.#chats;
  }

  /** The tools that agents may use, as rules for `decide`. */
  get tools(): ReadonlyMap<string, Tool> {
    return this.#tools;
  }

  /**
   * Does one effect and gives the input that it ends in. After the signal aborted it ends soon,
   * by a rejection or an input; neither counts.
   */
  async run(effect: Effect, scope: EffectScope, signal: AbortSignal): Promise<SessionInput> {
    switch (effect.type) {
      case 'call_model':
        return this.#callModel(effect, scope, signal);
      case 'run_tool':
        return this.#runTool(effect, scope, signal);
      case 'wait_until':
        await sleep(this.#clock, effect.at - this.#clock.now(), signal);
        return effect.input;
      case 'deliver':
        return deliver(effect, scope, { chats: this.#chats, clock: this.#clock, signal });
    }
  }

  async #callModel(
    effect: CallModel,
    scope: EffectScope,
    signal: AbortSignal,
  ): Promise<SessionInput> {
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
    const { state, window } = scope.current();
    const label = `${model.provider}/${model.name || model.provider}`;
    scope.calling({ inputSeq: state.seq, model: label });
    const isDurable = scope.durable();
    isDurable.catch(() => undefined); // awaited below; a call that ends earlier must not leave it unheard
    const startedAt = window.events.find(
      (event) => event.type === 'turn_started' && event.turn === turn,
    )?.at;
    const context = buildContext({
      agent,
      model,
      window,
      startedAt: startedAt ?? new Date(this.#clock.now()).toISOString(),
      timezone: this.#timezone,
    });
    const stall = new StallGuard(this.#clock, signal);
    const offsets = { text: 0, reasoning: 0 };
    try {
      const chunks = this.#models.stream(
        {
          model,
          agent: agent.name,
          ...context,
          tools: [...this.#tools.values()].map(({ name, description, parameters }) => ({
            name,
            description,
            parameters,
          })),
        },
        { signal: stall.signal },
      );
      let bytes = 0;
      for await (const chunk of chunks) {
        stall.touch();
        await isDurable;
        if (chunk.type === 'done' || chunk.type === 'failed') {
          return ended(effect, chunk, state.seq, stall.isStalled);
        }
        bytes += utf8Length(JSON.stringify(chunk.text));
        if (bytes > MAX_ANSWER_BYTES) return tooLarge(effect, label);
        if (signal.aborted) continue;
        scope.show({
          type: chunk.type === 'text' ? 'token' : 'reasoning',
          turn,
          step,
          attempt,
          offset: offsets[chunk.type],
          text: chunk.text,
        });
        offsets[chunk.type] += chunk.text.length;
      }
      return failed(effect, label, {
        code: 'model_bad_answer',
        message: 'The model ended without an answer.',
        retryable: true,
      });
    } finally {
      stall.stop();
    }
  }

  async #runTool(effect: RunTool, scope: EffectScope, signal: AbortSignal): Promise<SessionInput> {
    const { turn, call } = effect;
    const asked = findCall(scope.current().window, call);
    const tool = asked && this.#tools.get(asked.name);
    const result = (outcome: 'ok' | 'error' | 'timed_out' | 'cancelled', content: string) => ({
      type: 'tool_result' as const,
      turn,
      call,
      outcome,
      content,
      details: {},
    });
    if (!asked || !tool) return result('error', `There is no tool named ${asked?.name ?? call}.`);
    const args = asked.arguments;
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      return result('error', 'The arguments are not a JSON object; call the tool again with one.');
    }
    let offset = 0;
    try {
      const ran = await tool.run(args as Record<string, unknown>, {
        signal,
        onOutput: (text) => {
          scope.show({ type: 'tool_output', turn, call, offset, text });
          offset += text.length;
        },
      });
      return { ...result(ran.outcome, ran.content), details: ran.details ?? {} };
    } catch (error) {
      return result('error', error instanceof Error ? error.message : String(error));
    }
  }
}

/** The call with its arguments, as the model asked for it. */
function findCall(window: ConversationWindow, call: string): ToolCall | undefined {
  for (const event of window.events.toReversed()) {
    if (event.type !== 'assistant_message') continue;
    const asked = event.tool_calls.find((one) => one.call === call);
    if (asked) return asked;
  }
  return undefined;
}

function ended(
  effect: CallModel,
  chunk: Extract<ModelChunk, { type: 'done' | 'failed' }>,
  inputSeq: number,
  isStalled: boolean,
): ModelInput {
  const { turn, step, attempt } = effect;
  if (chunk.type === 'failed') {
    const error = isStalled
      ? {
          code: 'model_stalled',
          message: `The model sent nothing for ${STALL_MS / 1000} s.`,
          retryable: true,
        }
      : chunk.error;
    return failed(effect, chunk.model, error, chunk.usage);
  }
  if (utf8Length(JSON.stringify([chunk.content, chunk.toolCalls])) > MAX_ANSWER_BYTES) {
    return tooLarge(effect, chunk.model);
  }
  return {
    type: 'model_finished',
    turn,
    step,
    attempt,
    message_id: newId('msg'),
    input_seq: inputSeq,
    content: chunk.content,
    tool_calls: chunk.toolCalls.map((call) => ({ call: newId('call'), ...call })),
    finish_reason: chunk.finishReason,
    ...(chunk.usage ? { usage: chunk.usage } : {}),
    model: chunk.model,
  };
}

function tooLarge(effect: CallModel, model: string): ModelInput {
  return failed(effect, model, {
    code: 'answer_too_large',
    message: `The answer is larger than a record may be (${MAX_ANSWER_BYTES} bytes); lower max_output_tokens or ask for less.`,
    retryable: false,
  });
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

const CALL_ENDED = new Error('the call has ended');

/** Aborts a call that its owner aborts, or that shows nothing for `STALL_MS`. */
class StallGuard {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #owner: AbortSignal;
  readonly #onAbort = (): void => this.#controller.abort(this.#owner.reason);
  #cancel: () => void;
  #last: number;
  isStalled = false;

  constructor(clock: Clock, owner: AbortSignal) {
    this.#clock = clock;
    this.#owner = owner;
    this.#last = clock.monotonic();
    this.#cancel = clock.after(STALL_MS, () => this.#check());
    if (owner.aborted) this.#onAbort();
    else owner.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The call has shown something. */
  touch(): void {
    this.#last = this.#clock.monotonic();
  }

  stop(): void {
    this.#cancel();
    this.#owner.removeEventListener('abort', this.#onAbort);
    this.#controller.abort(CALL_ENDED);
  }

  #check(): void {
    const left = STALL_MS - (this.#clock.monotonic() - this.#last);
    if (left > 0) {
      this.#cancel = this.#clock.after(left, () => this.#check());
      return;
    }
    this.isStalled = true;
    this.#controller.abort(new Error('the model stalled'));
  }
}
