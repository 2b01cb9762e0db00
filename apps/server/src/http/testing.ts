import type { Chats } from '../runtime/chats.ts';
import { DuragentError } from '@duragent/protocol';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Agent } from '../core/agent.ts';
import { plainAgent } from '../core/testing.ts';
import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { Clock } from '../ports/clock.ts';
import type { ModelChunk, ModelRequest } from '../ports/language-model.ts';
import type { SessionStore } from '../ports/session-store.ts';
import { EffectRunner } from '../runtime/effects.ts';
import { ConsentDesk } from '../runtime/consent-desk.ts';
import { OutboxView } from '../runtime/outbox-view.ts';
import { noChats } from '../runtime/testing.ts';
import {
  noBudgets,
  noOutputs,
  noSurroundings,
  testCalls,
  testTool,
} from '../runtime/tools/testing.ts';
import { SessionRegistry } from '../runtime/session-registry.ts';
import { createApp } from './app.ts';
import type { Gateways, HttpDeps } from './context.ts';
import { createHttpServer } from './server.ts';
import { FILE_TOKEN } from './testing-client.ts';

/** For the tests of this folder: a server on loopback over the real registry. */

export const API_TOKEN = 'canary-http-api-token-8wzr';
export const ADMIN_TOKEN = 'canary-http-admin-token-3hxn';

/** Time that moves when a test says so. */
export class TestClock implements Clock {
  #now = 1_000_000;
  #timers = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return Date.UTC(2026, 0, 1) + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** How many callbacks wait. */
  get waiting(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter((timer) => timer.at <= end)
        .sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(due);
      due.callback();
    }
    this.#now = end;
  }
}

/** A model that says what the test tells it to. */
export class TestModel {
  /** The next answer; by default `Hello world` in three deltas. */
  reply: (request: ModelRequest, signal: AbortSignal) => AsyncIterable<ModelChunk> = () =>
    answer(['Hel', 'lo ', 'world']);

  stream(request: ModelRequest, { signal }: { signal: AbortSignal }): AsyncIterable<ModelChunk> {
    return this.reply(request, signal);
  }

  resolve<T>(model: T): Promise<T> {
    return Promise.resolve(model);
  }

  /** Answers that begin with `texts`, and then wait for `release`. */
  hold(texts: string[]): { release: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reply = async function* (_request, signal) {
      for (const text of texts) yield { type: 'text', text };
      const aborted = new Promise<void>((done) => {
        signal.addEventListener('abort', () => done(), { once: true });
      });
      await Promise.race([promise, aborted]);
      if (signal.aborted) yield failure('aborted');
      else yield done(texts.join(''));
    };
    return { release: resolve };
  }
}

/** A model's answer, whole. */
export async function* answer(texts: string[]): AsyncGenerator<ModelChunk> {
  for (const text of texts) yield { type: 'text', text };
  yield done(texts.join(''));
}

export function done(
  text: string,
  toolCalls: { provider_call_id: string; name: string; arguments: unknown }[] = [],
): ModelChunk {
  return {
    type: 'done',
    content: text === '' ? [] : [{ type: 'text', text }],
    toolCalls,
    finishReason: toolCalls.length > 0 ? 'tool_calls' : 'stop',
    usage: { input_tokens: 3, output_tokens: 2 },
    model: 'test/one',
  };
}

export function failure(code: string): ModelChunk {
  return {
    type: 'failed',
    error: { code, message: `It failed: ${code}.`, retryable: false },
    model: 'test/one',
  };
}

export function testAgent(name: string): Agent {
  return plainAgent({
    name,
    description: `The agent ${name}`,
    hash: `hash-of-${name}`,
    home: `/agents/${name}`,
    model: { maxOutputTokens: 100 },
    soul: 'A soul.',
    systemPrompt: 'A prompt.',
    session: { turnTimeoutMs: 90_000, maxHistoryTokens: 1000 },
  });
}

const shout = testTool({
  name: 'shout',
  effect: 'pure',
  onInterrupt: 'retry',
  run: (args) => Promise.resolve({ outcome: 'ok', content: String(args['text']).toUpperCase() }),
});

/** A server without gateways, where nobody was let in. */
const noGateways: Gateways = {
  list: () => [],
  restart: (name) => Promise.reject(unknownGateway(name)),
  logOf: (name) => {
    throw unknownGateway(name);
  },
  sessionOf: () => null,
  welcome: () => undefined,
  pairing: {
    approve: () => Promise.resolve(null),
    revoke: () => Promise.resolve(false),
    book: () => Promise.resolve({ pairings: [], requests: [] }),
  },
};

/** A server that plans nothing. */
const noSchedules: HttpDeps['schedules'] = {
  list: () => ({ schedules: [], faults: [] }),
  show: () => Promise.reject(new DuragentError('not_found', 'There is no such schedule.')),
  create: () => Promise.reject(new DuragentError('invalid_request', 'Nothing is planned here.')),
  remove: () => Promise.reject(new DuragentError('not_found', 'There is no such schedule.')),
  run: () => Promise.reject(new DuragentError('not_found', 'There is no such schedule.')),
};

function unknownGateway(name: string): DuragentError {
  return new DuragentError('not_found', `There is no gateway named ${name}.`);
}

export interface LogLine {
  level: 'info' | 'warn' | 'error';
  fields: Record<string, unknown>;
  text: string;
}

export interface TestServer extends AsyncDisposable {
  port: number;
  server: Server;
  clock: TestClock;
  model: TestModel;
  sessions: SessionRegistry;
  log: LogLine[];
  /** Stops the sessions, as a server does first; time moves for those that wait for it. */
  stopSessions(): Promise<void>;
  /** Lines of the log that are errors. */
  errors(): LogLine[];
}

/** Starts the server of a test; `change` what it is made of. */
export async function startTestServer(
  parts: { store: SessionStore; agents: AgentCatalog; chats?: Chats },
  change: (deps: HttpDeps) => Partial<HttpDeps> = () => ({}),
): Promise<TestServer> {
  const clock = new TestClock();
  const model = new TestModel();
  const log: LogLine[] = [];
  const write =
    (level: LogLine['level']) =>
    (fields: object, text: string): void =>
      void log.push({ level, fields: { ...fields }, text });
  const logger = { info: write('info'), warn: write('warn'), error: write('error') };
  const { agents, store } = parts;
  const sessions = new SessionRegistry({
    clock,
    epoch: 1,
    agents,
    runner: new EffectRunner({
      models: model,
      budgets: noBudgets,
      calls: testCalls([shout]),
      surroundings: noSurroundings,
      clock,
      timezone: 'UTC',
      maxConcurrent: 16,
      chats: parts.chats ?? noChats,
    }),
    settings: {
      onDisconnect: 'continue',
      maxBackgroundMs: 30 * 60_000,
      outputBufferSize: 1000,
      modelRetries: 1,
      approvalTimeoutMs: 600_000,
      delivery: { onUncertain: 'resend_marked', mirror: true, ttlMs: 1000 },
    },
    outputs: noOutputs,
    log: logger,
    store,
    defaultAgent: () => 'helper',
  });
  await sessions.start();
  const deps: HttpDeps = {
    sessions,
    agents,
    gateways: noGateways,
    outbox: new OutboxView(sessions),
    schedules: noSchedules,
    consent: new ConsentDesk({ sessions, agents, allowAlways: async () => undefined, log: logger }),
    reload: () => Promise.reject(new DuragentError('conflict', 'There is nothing to reload.')),
    models: { describe: (ref) => `${ref.provider}/${ref.name || 'echo'}` },
    auth: {
      fileToken: FILE_TOKEN,
      apiToken: API_TOKEN,
      adminToken: ADMIN_TOKEN,
      adminEnabled: true,
      cliEnabled: true,
    },
    hosts: { publicUrl: 'https://agents.example.com', hosts: ['duragent.internal', 'Box-7.lan'] },
    version: {
      version: '0.1.0',
      commit: 'abc',
      build_hash: 'def',
      started_at: '2026-01-01T00:00:00.000Z',
      node: process.versions.node,
    },
    workspace: '0123456789abcdef',
    instance: 'test-instance',
    ready: () => ({ ready: true }),
    limits: { requestTimeoutMs: 60_000, keepAliveIntervalMs: 15_000 },
    onShutdown: () => undefined,
    logger,
    defaultAgent: () => 'helper',
    clock,
  };
  const app = createApp({ ...deps, ...change(deps) });
  const server = createHttpServer(app.callback(), {
    requestTimeoutMs: 60_000,
    idleTimeoutMs: 5_000,
    maxConnections: 100,
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stopSessions = async (): Promise<void> => {
    let isClosed = false;
    const closing = sessions.close().finally(() => (isClosed = true));
    while (!isClosed) {
      clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await closing;
  };
  return {
    port,
    server,
    clock,
    model,
    sessions,
    log,
    stopSessions,
    errors: () => log.filter((line) => line.level === 'error'),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => void server.close(resolve));
      server.closeAllConnections();
      await closed;
      await stopSessions();
    },
  };
}
