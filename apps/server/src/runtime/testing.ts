import type { Chats } from './chats.ts';
import { DuragentError } from '@duragent/protocol';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { type MemorySession, memorySessionStore } from '../adapters/session-store/memory.ts';
import type { Agent } from '../core/agent.ts';
import { plainAgent } from '../core/testing.ts';
import type { Surroundings } from '../core/context/system-text.ts';
import type { Clock } from '../ports/clock.ts';
import type { LanguageModel, ModelChunk, ModelRequest } from '../ports/language-model.ts';
import type { SessionStore } from '../ports/session-store.ts';
import type { Tool } from '../ports/tool.ts';
import { EffectRunner } from './effects.ts';
import type { Frame } from './feed.ts';
import type { SessionSettings } from './rules.ts';
import type { SessionActor } from './session-actor.ts';
import { SessionRegistry } from './session-registry.ts';
import type { CallDeps } from './tools/call-runner.ts';
import { noBudgets, noOutputs, noSurroundings, testCalls } from './tools/testing.ts';

/** No gateways: what is owed to chats waits. */
export const noChats: Chats = {
  limits: () => ({ maxLength: 1900, unit: 'chars' }),
  isPresent: () => false,
  send: (_, { signal }) =>
    new Promise((__, reject) => {
      const stop = (): void => reject(signal.reason as Error);
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    }),
  showsPreviews: () => false,
  preview: () => undefined,
  progress: () => undefined,
  working: () => undefined,
};

/** A clock that only its test moves. */
class ManualClock implements Clock {
  #now = Date.parse('2026-01-01T00:00:00.000Z');
  /** How long the machine slept. */
  #slept = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now + this.#slept;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** The machine sleeps: only the wall clock moves on. */
  suspend(ms: number): void {
    this.#slept += ms;
  }

  /** Moves on, firing what is due in order, with what it causes in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await ticks();
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = end;
    await ticks();
  }
}

/** Lets everything that is ready run. */
export async function ticks(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
}

/** A model whose calls the test answers one by one. */
class HeldModel implements LanguageModel {
  readonly calls: HeldCall[] = [];

  async resolve<T>(model: T): Promise<T> {
    return model;
  }

  async *stream(request: ModelRequest, { signal }: { signal: AbortSignal }) {
    const call = new HeldCall(request, signal);
    this.calls.push(call);
    yield* call.chunks();
  }

  /** The newest call, once there are so many. */
  async call(count: number): Promise<HeldCall> {
    await until(() => this.calls.length >= count);
    const call = this.calls.at(-1);
    if (!call) throw new Error('no call');
    return call;
  }
}

class HeldCall {
  readonly request: ModelRequest;
  readonly signal: AbortSignal;
  readonly #queue: ModelChunk[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(request: ModelRequest, signal: AbortSignal) {
    this.request = request;
    this.signal = signal;
    signal.addEventListener('abort', () =>
      this.fail({ code: 'aborted', message: 'aborted', retryable: false }),
    );
  }

  push(chunk: ModelChunk): void {
    this.#queue.push(chunk);
    this.#wake.resolve();
  }

  text(text: string): void {
    this.push({ type: 'text', text });
  }

  done(text: string, toolCalls: { name: string; arguments: unknown }[] = []): void {
    this.push({
      type: 'done',
      content: text === '' ? [] : [{ type: 'text', text }],
      toolCalls: toolCalls.map((call, i) => ({ provider_call_id: `p${i}`, ...call })),
      finishReason: toolCalls.length > 0 ? 'tool_calls' : 'stop',
      usage: { input_tokens: 10, output_tokens: 5 },
      model: 'held/model',
    });
  }

  fail(error: { code: string; message: string; retryable: boolean }): void {
    this.push({ type: 'failed', error, model: 'held/model' });
  }

  async *chunks(): AsyncGenerator<ModelChunk> {
    for (;;) {
      const chunk = this.#queue.shift();
      if (!chunk) {
        this.#wake = Promise.withResolvers<void>();
        if (this.#queue.length === 0) await this.#wake.promise;
        continue;
      }
      yield chunk;
      if (chunk.type === 'done' || chunk.type === 'failed') return;
    }
  }
}

export function testAgent(change: Partial<Agent> = {}): Agent {
  return { ...plainAgent({ systemPrompt: 'Be helpful.' }), ...change };
}

/** A server's runtime without its edges; `restart` is what kill -9 and a new start make of it. */
export class TestRuntime {
  readonly disk = new Map<string, MemorySession>();
  readonly clock = new ManualClock();
  readonly catalog;
  readonly logged: string[] = [];
  model = new HeldModel();
  store: SessionStore;
  sessions: SessionRegistry;
  epoch = 1;
  readonly #options: RuntimeOptions;

  constructor(options: RuntimeOptions = {}) {
    this.#options = options;
    this.catalog = memoryAgentCatalog([testAgent(options.agent)]);
    this.store = this.#openStore();
    this.sessions = this.#open();
  }

  #openStore(): SessionStore {
    const store = memorySessionStore(this.disk);
    return this.#options.wrapStore?.(store) ?? store;
  }

  #open(): SessionRegistry {
    const say = (_: object, text: string): void => void this.logged.push(text);
    const settings = {
      onDisconnect: 'continue',
      maxBackgroundMs: 30 * 60_000,
      outputBufferSize: 1000,
      modelRetries: 3,
      approvalTimeoutMs: 600_000,
      delivery: { onUncertain: 'resend_marked', mirror: true, ttlMs: 24 * 60 * 60 * 1000 },
    } as const;
    return new SessionRegistry({
      clock: this.clock,
      epoch: this.epoch,
      agents: this.catalog,
      store: this.store,
      runner: new EffectRunner({
        models: this.model,
        budgets: noBudgets,
        calls: testCalls(this.#options.tools ?? [], this.#options.judge),
        surroundings: this.#options.surroundings ?? noSurroundings,
        clock: this.clock,
        timezone: 'UTC',
        maxConcurrent: this.#options.maxConcurrent ?? 16,
        chats: this.#options.chats?.(this) ?? noChats,
      }),
      outputs: noOutputs,
      settings: { ...settings, ...this.#options.settings },
      defaultAgent: () => null,
      log: { info: say, warn: say, error: say },
    });
  }

  /** The server dies as it is, and another one starts on the same disk. */
  async restart() {
    this.epoch += 1;
    this.model = new HeldModel();
    this.store = this.#openStore();
    this.sessions = this.#open();
    if (this.#options.chats) return null;
    const report = await this.sessions.start();
    this.sessions.resume();
    return report;
  }

  create(): Promise<SessionActor> {
    return this.sessions.create({ origin: { kind: 'http' } });
  }
}

export interface RuntimeOptions {
  agent?: Partial<Agent>;
  tools?: Tool[];
  judge?: CallDeps['judge'];
  surroundings?: (agent: Agent) => Promise<Surroundings>;
  maxConcurrent?: number;
  settings?: Partial<SessionSettings>;
  wrapStore?: (store: SessionStore) => SessionStore;
  /** Asked at each start. */
  chats?: (runtime: TestRuntime) => Chats;
}

export function say(actor: SessionActor, text: string, idempotencyKey?: string) {
  return actor.receive({
    content: [{ type: 'text', text }],
    handling: 'turn',
    source: { kind: 'http' },
    idempotencyKey,
  });
}

/** A client that reads a session and keeps what it got. */
export class Reader {
  readonly frames: Frame[] = [];
  readonly done: Promise<void>;
  readonly #stop = new AbortController();

  constructor(actor: SessionActor, options: { after?: number; presence?: boolean } = {}) {
    this.done = this.#read(actor.subscribe({ after: 0, signal: this.#stop.signal, ...options }));
  }

  async #read(frames: AsyncGenerator<Frame>): Promise<void> {
    for await (const frame of frames) this.frames.push(frame);
  }

  /** Types of the events, in order. */
  get events(): string[] {
    return this.frames.flatMap((frame) =>
      frame.kind === 'event' ? [frame.record.event.type] : [],
    );
  }

  /** The text of all tokens, in order. */
  get text(): string {
    return this.frames
      .map((frame) =>
        frame.kind === 'delta' && frame.delta.type === 'token' ? frame.delta.text : '',
      )
      .join('');
  }

  async leave(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

/** Waits for a condition. @throws DuragentError failed after 5 s. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > end)
      throw new DuragentError('failed', `not so: ${condition.toString()}`);
    await new Promise(setImmediate);
  }
}

/** A store that a test may change: its methods as own properties. */
export function storeOf(store: SessionStore): SessionStore {
  return {
    create: (...args) => store.create(...args),
    open: (...args) => store.open(...args),
    summaries: () => store.summaries(),
    unclean: () => store.unclean(),
    delete: (...args) => store.delete(...args),
    close: () => store.close(),
  };
}
