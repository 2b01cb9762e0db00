import { setTimeout as delay } from 'node:timers/promises';
import type { Api } from '../support/api.ts';
import { Follower } from '../support/follower.ts';
import { until } from '../support/until.ts';
import { SLEEPER } from './tools-work.ts';

const POLL_MS = 100;
/** How long one goes on trying the same, in ms. */
const STUBBORN_MS = 120_000;
/** Turns in one session. */
const MAX_TURNS = 10;
/** The share of turns that are cancelled. */
const CANCELLED = 0.12;

const QUIT = Symbol('quit');

export interface WorkerOptions {
  agent: string;
  name: string;
  /** Reads all events of its sessions as they come. */
  isFollowing: boolean;
  /** Where the server is now; null: nowhere. */
  server: () => Api | null;
  random: () => number;
}

/** One who has an agent work, turn after turn. */
export class Worker {
  session: string | null = null;
  follower: Follower | null = null;
  /** Messages that were acknowledged, with their sessions. */
  readonly said: { session: string; text: string }[] = [];
  /** What went wrong with sessions that are left behind. */
  readonly faults: string[] = [];
  readonly #options: WorkerOptions;
  readonly #server: () => Api | null;
  readonly #random: () => number;
  #number = 0;
  #turns = 0;
  #lastSeq = 0;
  #hasQuit = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#server = options.server;
    this.#random = options.random;
  }

  /** The last event that it knows to be there. */
  get seenSeq(): number {
    return Math.max(this.#lastSeq, this.follower?.events.length ?? 0);
  }

  /** Asks for one turn after another until it is told to stop, and waits for the end of the last. */
  async work(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      if (this.session === null || this.#turns === MAX_TURNS) await this.#begin();
      const session = this.session ?? '';
      await this.#say(session, `go ${this.#options.name}-${(this.#number += 1)}`);
      this.#turns += 1;
      if (this.#random() < CANCELLED) {
        await delay(this.#random() * 600);
        await this.#call((api) => api.post(`/sessions/${session}/cancel`)).catch(() => undefined);
      }
      await this.#rest(session);
    }
  }

  /** Asks a question that is answered at the very end only. */
  async sleep(): Promise<void> {
    await this.#begin();
    await this.#say(this.session ?? '', `go ${SLEEPER}`);
  }

  /** Breaks off whatever it is at. */
  async quit(): Promise<void> {
    this.#hasQuit = true;
    await this.follower?.close();
  }

  /** Waits until the follower has seen all, and ends it. */
  async leave(): Promise<void> {
    const { follower, session } = this;
    if (follower === null || session === null) return;
    await this.#until(`the follower of ${session} has it all`, async () => {
      const view = await this.#server()?.session(session);
      return view?.turn_state === 'idle' && view.last_seq === follower.events.length;
    });
    this.follower = null;
    await follower.close();
    this.faults.push(...follower.faults.map((fault) => `${session}: ${fault}`));
  }

  async #begin(): Promise<void> {
    await this.leave();
    const headers = { 'Idempotency-Key': `${this.#options.name}-${(this.#number += 1)}` };
    const create = (api: Api) => api.createSession({ agent: this.#options.agent }, { headers });
    const { session } = await this.#call(create);
    this.session = session;
    this.follower = this.#options.isFollowing ? new Follower(session, this.#server) : null;
    this.#turns = 0;
    this.#lastSeq = 0;
  }

  async #say(session: string, text: string): Promise<void> {
    await this.#call((api) => api.say(session, text, text.replace(' ', '-')));
    this.said.push({ session, text });
  }

  async #rest(session: string): Promise<void> {
    await this.#until(`the turn of ${session} ends`, async () => {
      await delay(POLL_MS);
      const view = await this.#server()?.session(session);
      this.#lastSeq = Math.max(this.#lastSeq, view?.last_seq ?? 0);
      return view?.turn_state === 'idle';
    });
  }

  /** Calls until it succeeds. */
  async #call<T>(call: (api: Api) => Promise<T>): Promise<T> {
    const found = await this.#until(`${this.#options.name} is served`, async () => {
      const api = this.#server();
      return api !== null && { result: await call(api) };
    });
    if (found === false) throw new Error('nobody served it');
    return found.result;
  }

  /** Asks until the answer is truthy. @throws Error when that takes too long, or it was told to quit. */
  async #until<T>(what: string, probe: () => Promise<T>): Promise<T> {
    const found = await until(
      what,
      async () => (this.#hasQuit ? QUIT : await probe()),
      STUBBORN_MS,
    );
    if (found === QUIT) throw new Error(`it was told to quit before ${what}`);
    return found;
  }
}
