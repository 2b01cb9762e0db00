import { DuragentError } from '@duragent/protocol';
import { LineWatch } from '../../core/processes/line-watch.ts';
import {
  hasEnded,
  isUntold,
  type ProcessRecord,
  type ProcessWatch,
} from '../../core/processes/process-record.ts';
import { terminalText } from '../../core/processes/terminal-text.ts';
import { sleep, type Clock } from '../../ports/clock.ts';
import type { ProcessStore } from '../../ports/process-store.ts';
import type {
  PlainProcess,
  ProcessEnd,
  Processes,
  ProcessStart,
  TerminalProcess,
} from '../../ports/processes.ts';
import { endNotice, lineNotice } from './background-process-words.ts';

export interface BackgroundProcessDeps {
  processes: Processes;
  store: ProcessStore;
  clock: Clock;
  /**
   * Says something to a session, which begins a turn. Durable when resolved; of two with one
   * identity the session gets one. Rejects with `session_not_found` or `session_ended` where
   * nobody is there to be told.
   */
  wake: (session: string, text: string, identity: string) => Promise<void>;
  log: { warn(fields: object, text: string): void };
}

/** Two watches of one process wake its session no sooner one after another. */
const COOLDOWN_MS = 10_000;
const FIRST_BACKOFF_MS = 1000;
const LONGEST_BACKOFF_MS = 60_000;
/** How much of its output is told with its end. */
const TOLD_BYTES = 2000;
/** Nobody is there to be told, or nobody can be. */
const NOBODY: ReadonlySet<string> = new Set([
  'session_not_found',
  'session_ended',
  'session_quarantined',
  'log_newer',
]);

/** One background process: its record, kept durably, and the process itself while it runs. */
export class BackgroundProcess {
  readonly #deps: BackgroundProcessDeps;
  /** Aborts when the server stops: nobody is told any more. */
  readonly #signal: AbortSignal;
  readonly #lines = new LineWatch();
  readonly #over = Promise.withResolvers<void>();
  #record: ProcessRecord;
  #live: PlainProcess | TerminalProcess | null = null;
  #starting: Promise<unknown> = Promise.resolve();
  readonly #busy = new Set<Promise<void>>();
  #saving: Promise<unknown> = Promise.resolve();
  /** Why it is being ended; null: nobody ends it. */
  #ending: 'killed' | 'stopped' | null = null;
  #isTelling = false;
  #isForgotten = false;
  #lastLineAt = -Infinity;

  constructor(record: ProcessRecord, deps: BackgroundProcessDeps, signal: AbortSignal) {
    this.#record = record;
    this.#deps = deps;
    this.#signal = signal;
    if (hasEnded(record)) this.#over.resolve();
  }

  get record(): ProcessRecord {
    return this.#record;
  }

  /** The process while it runs; null: it does not. */
  get live(): PlainProcess | TerminalProcess | null {
    return this.#live;
  }

  /** Resolves when it has ended, and that is recorded. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Starts it. @returns why it was not, in words; null: it runs. @throws DuragentError where it cannot be recorded: nothing was started then. */
  start(start: ProcessStart): Promise<string | null> {
    const starting = this.#start(start);
    this.#starting = starting.catch(() => undefined);
    return starting;
  }

  async #start(start: ProcessStart): Promise<string | null> {
    const { processes } = this.#deps;
    try {
      await this.#save();
    } catch (error) {
      this.#change({ state: 'failed', ended_at: this.#now(), told: true });
      this.#over.resolve();
      throw error;
    }
    const options = { onText: this.take };
    const started = this.#record.interactive
      ? await processes.openTerminal(start, options)
      : await processes.start(start, options);
    if ('fault' in started) {
      const { fault } = started;
      this.#change({ state: 'failed', fault, ended_at: this.#now(), told: true });
      await this.#trySave();
      this.#over.resolve();
      return fault;
    }
    await this.adopt(started);
    return null;
  }

  /** Takes a process that runs as this one. */
  async adopt(live: PlainProcess | TerminalProcess): Promise<void> {
    this.#live = live;
    this.#change({ state: 'running', pid: live.pid, birth: live.birth });
    this.#goOn(live.ended.then((end) => this.#finish(end)));
    await this.#trySave();
  }

  /** Records that it was found dead. */
  lose(): void {
    this.#goOn(this.#finish(null));
  }

  /** Looks for what is watched in what it prints. */
  readonly take = (text: string): void => {
    const armed = this.#record.watches.filter(({ line }) => line === null);
    if (armed.length === 0) return;
    const found = this.#lines.take(
      text,
      armed.map((watch) => watch.text),
    );
    if (found.size === 0) return;
    const watches = this.#record.watches.map((watch) =>
      watch.line === null ? { ...watch, line: found.get(watch.text) ?? null } : watch,
    );
    this.#change({ watches });
    this.#goOn(this.#trySave().then(() => this.#tellAll()));
  };

  /** Has its session woken, once, when a line has a text, from now on. @throws DuragentError where it cannot be recorded. */
  async watch(text: string, from: number): Promise<void> {
    if (this.#live?.terminal) await this.#live.catchUp();
    const n = Math.max(0, ...this.#record.watches.map((watch) => watch.n)) + 1;
    const watch: ProcessWatch = { n, text, from, line: null, told: false };
    const before = this.#record.watches;
    this.#lines.forget();
    this.#change({ watches: [...before.filter(({ told }) => !told), watch] });
    try {
      await this.#save();
    } catch (error) {
      this.#change({ watches: this.#record.watches.filter((one) => one.n !== n) });
      throw error;
    }
  }

  /** Ends it. Resolves when that is recorded. */
  async end(why: 'killed' | 'stopped'): Promise<void> {
    this.#ending ??= why;
    await this.#starting;
    await this.#live?.end();
    await this.over;
  }

  /** Resolves when nothing is being written or told of it, but for what a process that runs may cause. Never rejects. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0 && !this.#live) await Promise.all(this.#busy);
    await this.#saving;
  }

  /** Work that nobody waits for but who closes. It never rejects. */
  #goOn(work: Promise<void>): void {
    this.#busy.add(work);
    void work.then(() => this.#busy.delete(work));
  }

  /** Writes nothing more of it: its record is to be removed. Never rejects. */
  async forget(): Promise<void> {
    this.#isForgotten = true;
    await this.#saving;
  }

  async #finish(end: ProcessEnd | null): Promise<void> {
    const state = this.#ending ?? (end === null ? 'lost' : 'exited');
    this.#change({
      state,
      ended_at: this.#now(),
      exit_code: end?.exitCode ?? null,
      signal: end?.signal ?? null,
      // Who ends it knows.
      told: state === 'killed',
    });
    const live = this.#live;
    this.#live = null;
    await this.#trySave();
    await live?.release();
    this.#over.resolve();
    await this.#tellAll();
  }

  /** Tells its session, one thing after another, what it does not know. */
  tell(): void {
    this.#goOn(this.#tellAll());
  }

  async #tellAll(): Promise<void> {
    if (this.#isTelling || this.#signal.aborted) return;
    this.#isTelling = true;
    let failures = 0;
    for (let owed = this.#owed(); owed !== null && !this.#signal.aborted; owed = this.#owed()) {
      if (await this.#wake(owed)) {
        failures = 0;
        this.#change(owed.done());
        await this.#trySave();
      } else {
        const wait = FIRST_BACKOFF_MS * 2 ** Math.min(failures, 10);
        failures += 1;
        await this.#pause(Math.min(wait, LONGEST_BACKOFF_MS));
      }
    }
    this.#isTelling = false;
  }

  #owed(): Owed | null {
    const { watches, id } = this.#record;
    const watch = watches.find(isUntold);
    if (watch) {
      return {
        identity: `${id}/watch/${watch.n}`,
        isLine: true,
        text: () => Promise.resolve(lineNotice(this.#record, watch)),
        done: () => ({
          watches: this.#record.watches.map((one) =>
            one.n === watch.n ? { ...one, told: true } : one,
          ),
        }),
      };
    }
    if (!hasEnded(this.#record) || this.#record.told) return null;
    return {
      identity: `${id}/end`,
      isLine: false,
      text: async () => endNotice(this.#record, await this.#tail(), this.#deps.clock.now()),
      done: () => ({ told: true }),
    };
  }

  async #tail(): Promise<string> {
    const { processes } = this.#deps;
    const { id, interactive } = this.#record;
    const screen = interactive ? await processes.screen(id, 0) : null;
    const { text } = await processes.output(id, { start: 'end', bytes: TOLD_BYTES });
    return terminalText(screen ?? text)
      .trimEnd()
      .slice(-TOLD_BYTES)
      .toWellFormed();
  }

  /** @returns whether it need not be told any more. */
  async #wake({ identity, isLine, text }: Owed): Promise<boolean> {
    const { clock, log, wake } = this.#deps;
    if (isLine && !hasEnded(this.#record)) {
      await this.#pause(this.#lastLineAt + COOLDOWN_MS - clock.monotonic());
      if (this.#signal.aborted) return false;
      this.#lastLineAt = clock.monotonic();
    }
    const { id, session } = this.#record;
    try {
      await wake(session, await text(), identity);
      return true;
    } catch (error) {
      if (error instanceof DuragentError && NOBODY.has(error.code)) return true;
      log.warn({ process: id, session, err: error }, 'a session was not told of its process');
      return false;
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0) return;
    await sleep(this.#deps.clock, ms, this.#signal).catch(() => undefined);
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }

  #change(change: Partial<ProcessRecord>): void {
    this.#record = { ...this.#record, ...change };
  }

  /** One after another; the last is how it is now. */
  #save(): Promise<void> {
    const saved = this.#saving.then(async () => {
      if (!this.#isForgotten) await this.#deps.store.put(this.#record);
    });
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  /** What is not recorded is found out again at the next start. */
  async #trySave(): Promise<void> {
    try {
      await this.#save();
    } catch (error) {
      const { id } = this.#record;
      this.#deps.log.warn({ process: id, err: error }, 'a process cannot be recorded');
    }
  }
}

/** Something that a session does not know yet. */
interface Owed {
  identity: string;
  isLine: boolean;
  text: () => Promise<string>;
  done: () => Partial<ProcessRecord>;
}
