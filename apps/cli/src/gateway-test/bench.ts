import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DEFAULT_LIMITS,
  GATEWAY_PROTOCOL,
  type GatewayAnswer,
  type GatewayCapability,
  type GatewayEvent,
  type GatewayEventOf,
  type GatewayLimits,
  type GatewayReady,
} from '@duragent/protocol';
import { GatewayProcess } from './gateway-process.ts';
import { Broken, Skipped } from './rule.ts';

export interface BenchOptions {
  command: string;
  args: readonly string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** The gateway's own map, as duragent.yaml would have it. */
  config: Readonly<Record<string, unknown>>;
  /** An existing chat where it may post; null: that of the first message, or an invented one. */
  chat: string | null;
  /** A shell command that makes somebody say something; null: there is none. */
  provoke: string | null;
  /** An existing folder for files and whatever the suite needs. */
  dir: string;
  /** How long it may take to become ready or to answer. */
  answerMs: number;
  /** How long it may take to end when its stdin ended. */
  exitMs: number;
}

/** The chat when nobody named one. */
const INVENTED_CHAT = 'test-chat';
const MAX_CONTENT = 500_000;

/** The scripted server: starts the gateway, one process at a time, and does with it what a server does. */
export class Bench {
  readonly options: BenchOptions;
  /** Every run so far, oldest first. */
  readonly runs: GatewayProcess[] = [];
  /** What the first run announced. */
  ready: GatewayReady | null = null;
  /** Whether pings are answered: otherwise only its running tells that it lives. */
  hasPong = true;
  /** The newest cursor of an event that was acked; null also after it was of no use. */
  cursor: unknown = null;
  /** The newest cursor, whether it was of use or not. */
  newestCursor: unknown = null;
  /** While true, nothing is acked. */
  holdsAcks = false;
  /** Whether an event that was not acked came again: what of it has to be the same is another rule. */
  hasRedelivered = false;
  #current: GatewayProcess | null = null;
  #knownChat: string | null = null;
  #lastRequest = 0;
  readonly #provocations = new Set<ChildProcess>();

  constructor(options: BenchOptions) {
    this.options = options;
    this.#knownChat = options.chat;
  }

  get chat(): string {
    return this.#knownChat ?? INVENTED_CHAT;
  }

  get limits(): GatewayLimits {
    return this.ready?.limits ?? DEFAULT_LIMITS;
  }

  has(capability: GatewayCapability): boolean {
    return this.ready?.capabilities.includes(capability) === true;
  }

  /** A text that the gateway may post: at most `length` units of ASCII. */
  textOf(length: number): string {
    return 'x'.repeat(Math.min(length, MAX_CONTENT));
  }

  newId(): string {
    this.#lastRequest += 1;
    return `test-${this.#lastRequest}`;
  }

  /** Starts a process, after the one before has ended; nothing is sent to it. */
  async launch(): Promise<GatewayProcess> {
    await this.stop();
    const { command, args, cwd, env } = this.options;
    const run = new GatewayProcess(command, args, { cwd, env }, (event) => this.#take(event, run));
    this.runs.push(run);
    this.#current = run;
    return run;
  }

  /** Sends `configure`. */
  async configure(run: GatewayProcess, cursor: unknown = null): Promise<void> {
    const mediaDir = path.join(this.options.dir, 'media');
    await mkdir(mediaDir, { recursive: true });
    run.send({
      type: 'configure',
      protocol: GATEWAY_PROTOCOL,
      name: 'test',
      account: 'test',
      config: this.options.config,
      cursor,
      limits: this.limits,
      media_dir: mediaDir,
      commands: [],
    });
  }

  /** A process that is ready: the one that is, or a new one. @throws Broken when it does not become ready. */
  async gateway(): Promise<GatewayProcess> {
    const run = this.#current;
    return run !== null && run.exit === null ? run : await this.start();
  }

  /** Starts a process anew and waits until it is ready. @throws Broken when that does not come. */
  async start(cursor: unknown = this.cursor): Promise<GatewayProcess> {
    const run = await this.launch();
    await this.configure(run, cursor);
    // If it does not start, the rules after this one are tested without.
    this.cursor = null;
    const ready = await run.until(
      () => run.events.some(({ type }) => type === 'ready') || run.exit !== null,
      this.options.answerMs,
    );
    if (ready === null) throw new Broken(`no "ready" within ${this.options.answerMs} ms`);
    if (run.exit !== null) {
      const given = cursor === null ? '' : `, started with the cursor ${JSON.stringify(cursor)}`;
      throw new Broken(`${ending(run)} before it was ready${given}`);
    }
    this.cursor ??= cursor;
    return run;
  }

  /** Ends the process that runs, kindly at first. */
  async stop(): Promise<void> {
    const run = this.#current;
    this.#current = null;
    if (run === null) return;
    if (run.exit === null) {
      run.send({ type: 'shutdown', deadline_ms: 1000 });
      run.endInput();
      await run.until(() => run.exit !== null, 1500);
    }
    await run.kill();
  }

  /** Ends everything that was started. */
  async close(): Promise<void> {
    this.endProvocations();
    for (const run of this.runs) await run.kill();
  }

  /** Sends a request and waits for its answer. @throws Broken when none comes. */
  async ask(run: GatewayProcess, message: object): Promise<GatewayAnswer> {
    const request_id = this.newId();
    run.send({ request_id, ...message });
    return await this.answer(run, request_id);
  }

  /** The answer to a request that was sent. @throws Broken when none comes. */
  async answer(run: GatewayProcess, id: string): Promise<GatewayAnswer> {
    const { answerMs } = this.options;
    const asked = run.requests.get(id);
    const answer = (): GatewayAnswer | undefined => asked?.answers[0];
    await run.until(() => answer() !== undefined || run.exit !== null, answerMs);
    const found = answer();
    if (found !== undefined) return found;
    const what = asked?.type ?? 'request';
    if (run.exit !== null) throw new Broken(`${ending(run)} instead of answering a ${what}`);
    throw new Broken(`no answer to a ${what} within ${answerMs} ms`);
  }

  /** Posts a text, as often as the platform says to wait. @throws Broken or Skipped when it is refused. */
  async post(run: GatewayProcess, content: string, more: object = {}): Promise<string> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.ask(run, this.message(content, more));
      if (answer.type === 'command_ok') {
        if (answer.message_id !== undefined) return answer.message_id;
        throw new Broken('a send_message was answered with command_ok without a message_id');
      }
      if (answer.type !== 'command_error') {
        throw new Broken(`a send_message was answered with ${answer.type}`);
      }
      const wait = answer.retry_after_ms ?? 1000;
      if (answer.code !== 'rate_limited' || attempt === 3 || wait > 60_000) {
        throw this.refusal('send_message', answer);
      }
      await delay(wait);
    }
  }

  /** A `send_message` to the chat, without its request id. */
  message(content: string, more: object = {}): object {
    return {
      type: 'send_message',
      chat_id: this.chat,
      content,
      format: 'text',
      part: 1,
      parts: 1,
      nonce: `test-${Math.random().toString(36).slice(2, 14)}`,
      ...more,
    };
  }

  /** What a refusal means: where nobody named a chat, it may be for want of one. */
  refusal(what: string, { code, message }: GatewayEventOf<'command_error'>): Error {
    const said = `${what} was refused: ${code}${message === '' ? '' : `: ${message}`}`;
    if (this.#knownChat !== null) return new Broken(said);
    return new Skipped(`${said}. Name a chat where it may post with --chat`);
  }

  /** @throws Broken when the gateway ended, or does not answer a ping any more. */
  async checkAlive(run: GatewayProcess, after: string): Promise<void> {
    if (this.hasPong) {
      try {
        await this.ask(run, { type: 'ping' });
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        throw new Broken(`after ${after}: ${error.message}`);
      }
    } else if ((await run.until(() => run.exit, 500)) !== null) {
      throw new Broken(`after ${after}: ${ending(run)}`);
    }
    // The server ends whatever says so, also what would go on.
    const fatal = run.events.find((event) => event.type === 'error' && isFatal(event));
    if (fatal?.type === 'error') {
      await run.kill();
      throw new Broken(`after ${after}: it said with a fatal error that it ends: ${fatal.code}`);
    }
  }

  /**
   * Makes somebody say something, and waits for it.
   * @throws Broken when no message came, or the command failed.
   */
  async provoke(run: GatewayProcess, text: string): Promise<GatewayEventOf<'message_received'>> {
    const { provoke, env, cwd, answerMs } = this.options;
    if (provoke === null) throw new Skipped(NO_PROVOKE);
    const seen = new Set(this.#arrivals());
    const child = spawn('/bin/sh', ['-c', provoke], {
      cwd,
      env: { ...env, DURAGENT_TEST_TEXT: text, DURAGENT_TEST_CHAT: this.chat },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#provocations.add(child);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (more: string) => {
      said = (said + more).slice(-500);
    });
    const failed = Promise.withResolvers<Broken>();
    const fail = (why: string): void =>
      failed.resolve(new Broken(`the --provoke command failed: ${why}`));
    child.once('error', (error) => fail(error.message));
    child.once('close', (code) => {
      if (code !== 0 && code !== null) fail(`it ended with ${code}: ${said.trim()}`);
    });
    const message = await Promise.race([
      failed.promise,
      run.until(
        () =>
          run.events
            .filter((event) => event.type === 'message_received')
            .find((event) => !seen.has(arrivalOf(event))),
        answerMs,
      ),
    ]);
    if (message instanceof Broken) throw message;
    if (message !== null) return message;
    if (run.exit !== null) throw new Broken(`${ending(run)} when somebody said something`);
    throw new Broken(`no message_received within ${answerMs} ms of the --provoke command`);
  }

  /** Ends the commands that provoke, and what they started. */
  endProvocations(): void {
    for (const { pid, exitCode, signalCode } of this.#provocations) {
      if (pid === undefined || exitCode !== null || signalCode !== null) continue;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It ended just now.
      }
    }
    this.#provocations.clear();
  }

  /** Says that an event is durable. */
  ack(run: GatewayProcess, event: GatewayEvent): void {
    if (!('event_id' in event) || event.event_id === undefined) return;
    if (event.cursor !== undefined) {
      this.cursor = event.cursor;
      this.newestCursor = event.cursor;
    }
    run.send({ type: 'ack', event_ids: [event.event_id] });
  }

  *#arrivals(): Generator<string> {
    for (const run of this.runs) {
      for (const event of run.events) if (event.type === 'message_received') yield arrivalOf(event);
    }
  }

  #take(event: GatewayEvent, run: GatewayProcess): void {
    if (event.type === 'ready') this.ready ??= event;
    if (event.type === 'message_received') this.#knownChat ??= event.chat_id;
    if (!this.holdsAcks) this.ack(run, event);
  }
}

export const NO_PROVOKE =
  'give a command that makes somebody say something in the chat: --provoke <shell command>';

function isFatal({ fatal, code }: GatewayEventOf<'error'>): boolean {
  return fatal || code === 'unauthorized' || code === 'conflict';
}

/** How a process ended, in words. */
export function ending({ exit }: GatewayProcess): string {
  if (exit?.signal != null) return `it ended by ${exit.signal}`;
  return exit?.code == null ? 'it could not be started' : `it ended with exit code ${exit.code}`;
}

/** Names an arrival, also one of `v1alpha1`, which has no event id. */
export function inboundId(event: GatewayEventOf<'message_received'>): string {
  return event.event_id ?? JSON.stringify([event.chat_id, event.message_id, event.timestamp]);
}

/** Tells one message from another also where a gateway gives both one event id. */
export function arrivalOf(event: GatewayEventOf<'message_received'>): string {
  return JSON.stringify([inboundId(event), event.chat_id, event.message_id]);
}
