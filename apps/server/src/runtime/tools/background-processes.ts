import { DuragentError } from '@duragent/protocol';
import {
  hasEnded,
  processIdOf,
  recordsToDrop,
  type ProcessRecord,
} from '../../core/processes/process-record.ts';
import type { ProcessStart } from '../../ports/processes.ts';
import { BackgroundProcess, type BackgroundProcessDeps } from './background-process-entry.ts';

/** Whose processes they are: only they see them. */
export interface ProcessOwner {
  session: string;
  agent: string;
}

/** What to start. */
export interface SpawnRequest extends Omit<ProcessStart, 'id'> {
  /** The tool call that asks for it; it names the process. */
  call: string;
  command: string;
  name: string | null;
  interactive: boolean;
}

/** How many may run at once, of a session and of an agent. */
const MOST_OF_SESSION = 8;
const MOST_OF_AGENT = 32;
/** How many texts may be waited for in one process. */
const MOST_WATCHES = 8;
const END_PATIENCE_MS = 5000;

/** The background processes of all sessions. */
export class BackgroundProcesses {
  readonly #deps: BackgroundProcessDeps;
  /** By id, oldest first. */
  readonly #all = new Map<string, BackgroundProcess>();
  readonly #closing = new AbortController();

  constructor(deps: BackgroundProcessDeps) {
    this.#deps = deps;
  }

  /**
   * Finds out what became of the processes of earlier servers: terminals are taken over, all else
   * is lost, and what sessions were not told they are told. To be called once, first.
   * @throws DuragentError storage_failed
   */
  async open(): Promise<void> {
    const { processes, store } = this.#deps;
    for (const record of await store.list()) this.#add(record);
    const open = [...this.#all.values()].filter(({ record }) => !hasEnded(record));
    const wanted = new Map(
      await Promise.all(
        open
          .filter(({ record }) => record.interactive)
          .map(async (one) => {
            const from = await this.#unseenFrom(one.record);
            return [one.record.id, { from, onText: one.take }] as const;
          }),
      ),
    );
    const adopted = await processes.adoptTerminals(wanted);
    await Promise.all(
      open.map(async (one) => {
        const { id, pid, birth } = one.record;
        const live = adopted.get(id);
        if (live) {
          await one.adopt(live);
          return;
        }
        if (pid !== null) await processes.endLeftover(pid, birth);
        one.lose();
      }),
    );
    for (const one of this.#all.values()) one.tell();
    await this.#drop();
  }

  /** Where the output begins in which nobody has looked for the texts that are waited for. */
  async #unseenFrom({ id, watches }: ProcessRecord): Promise<number> {
    const armed = watches.filter(({ line }) => line === null).map(({ from }) => from);
    if (armed.length > 0) return Math.min(...armed);
    return (await this.#deps.processes.output(id, { start: 'end', bytes: 0 })).size;
  }

  /**
   * Starts a process. Its end wakes its session.
   * @throws DuragentError conflict where there are too many, or it was started before; storage_*
   *   where it cannot be recorded; invalid_request with the reason where it cannot be started.
   */
  async spawn(owner: ProcessOwner, request: SpawnRequest): Promise<ProcessRecord> {
    const { call, command, name, interactive, ...start } = request;
    const id = processIdOf(call);
    this.#assertRoom(owner, id);
    const one = this.#add({
      id,
      ...owner,
      call,
      command,
      name,
      interactive,
      started_at: new Date(this.#deps.clock.now()).toISOString(),
      state: 'starting',
      pid: null,
      birth: null,
      ended_at: null,
      exit_code: null,
      signal: null,
      fault: null,
      told: false,
      watches: [],
    });
    void one.over.then(() => this.#drop());
    const fault = await one.start({ id, ...start });
    if (fault === null) return one.record;
    throw new DuragentError('invalid_request', `The process was not started: ${fault}.`);
  }

  /** Those of an owner, newest first. */
  list({ session, agent }: ProcessOwner): ProcessRecord[] {
    return [...this.#all.values()]
      .map(({ record }) => record)
      .filter((record) => record.session === session && record.agent === agent)
      .toReversed();
  }

  /** One of an owner; null: it has none of this id. */
  find(owner: ProcessOwner, id: string): ProcessRecord | null {
    return this.#one(owner, id)?.record ?? null;
  }

  /** One of any owner; null: there is none of this id, or none any more. */
  look(id: string): ProcessRecord | null {
    return this.#all.get(id)?.record ?? null;
  }

  /** Gives a plain process input. @throws DuragentError not_found, conflict */
  write(owner: ProcessOwner, id: string, text: string, isLast: boolean): void {
    const live = this.#running(owner, id);
    if (live.terminal) throw conflict(`${id} has a terminal: use send_keys.`);
    const fault = live.write(text, isLast);
    if (fault !== null) throw conflict(`${id} was not given the input: ${fault}.`);
  }

  /** Types into the terminal of a process. @throws DuragentError not_found, conflict */
  async send(
    owner: ProcessOwner,
    id: string,
    text: string,
    keys: readonly string[],
  ): Promise<void> {
    const live = this.#running(owner, id);
    if (!live.terminal) throw conflict(`${id} has no terminal: use write.`);
    const fault = await live.send(text, keys);
    if (fault !== null) throw conflict(`${id} was not sent the keys: ${fault}.`);
  }

  /** Wakes the session once when a line of a process has a text. @throws DuragentError not_found, conflict, storage_* */
  async watch(owner: ProcessOwner, id: string, text: string): Promise<void> {
    this.#running(owner, id);
    const one = this.#one(owner, id);
    const armed = one?.record.watches.filter(({ line }) => line === null) ?? [];
    if (armed.some((watch) => watch.text === text)) return;
    if (armed.length >= MOST_WATCHES) {
      throw conflict(`${id} is watched for ${MOST_WATCHES} texts already: wait for one of them.`);
    }
    const { size } = await this.#deps.processes.output(id, { start: 'end', bytes: 0 });
    await one?.watch(text, size);
  }

  /** Ends a process with all that it started. @throws DuragentError not_found, conflict where it has ended before. */
  async kill(owner: ProcessOwner, id: string): Promise<void> {
    this.#running(owner, id);
    await this.#one(owner, id)?.end('killed');
  }

  /** Ends what runs of a session that has ended. Never rejects. */
  async endSession(session: string): Promise<void> {
    const ending = this.#ofSession(session).filter(({ record }) => !hasEnded(record));
    await Promise.all(ending.map((one) => one.end('killed')));
  }

  /** Ends what runs of a session, and removes all that is kept of its processes. @throws DuragentError storage_failed */
  async purgeSession(session: string): Promise<void> {
    await this.endSession(session);
    for (const { record } of this.#ofSession(session)) await this.#remove(record.id);
  }

  /** Ends the plain processes; terminals go on, but for those whose program has ended. Their sessions are told at the next start. Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort();
    const plain = [...this.#all.values()].filter(
      ({ record }) => !hasEnded(record) && !record.interactive,
    );
    // One that has just ended is recorded, and so let go: tmux would keep it, and stay for it alone.
    const looks = [...this.#all.values()].map(({ live }) =>
      live?.terminal ? live.catchUp() : null,
    );
    const ending = Promise.all([...looks, ...plain.map((one) => one.end('stopped'))]).then(() =>
      Promise.all([...this.#all.values()].map((one) => one.idle())),
    );
    await Promise.race([ending, this.#patience()]);
    this.#deps.processes.close();
  }

  /** What the system cannot end must not keep the server from stopping: the next one finds it lost. */
  #patience(): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(END_PATIENCE_MS, resolve);
    });
  }

  #add(record: ProcessRecord): BackgroundProcess {
    const one = new BackgroundProcess(record, this.#deps, this.#closing.signal);
    this.#all.set(record.id, one);
    return one;
  }

  #ofSession(session: string): BackgroundProcess[] {
    return [...this.#all.values()].filter(({ record }) => record.session === session);
  }

  #one({ session, agent }: ProcessOwner, id: string): BackgroundProcess | null {
    const one = this.#all.get(id);
    const isOwn = one?.record.session === session && one.record.agent === agent;
    return one && isOwn ? one : null;
  }

  #running(owner: ProcessOwner, id: string) {
    const one = this.#one(owner, id);
    if (!one) throw new DuragentError('not_found', `There is no process ${id} of yours; use list.`);
    if (!one.live) throw conflict(`${id} does not run (any more); see its status.`);
    return one.live;
  }

  #assertRoom({ session, agent }: ProcessOwner, id: string): void {
    if (this.#closing.signal.aborted) throw conflict('The server is stopping.');
    if (this.#all.has(id)) throw conflict(`${id} was started by this call before.`);
    const open = [...this.#all.values()]
      .map(({ record }) => record)
      .filter((record) => !hasEnded(record));
    const ofSession = open.filter((record) => record.session === session).length;
    if (ofSession >= MOST_OF_SESSION) {
      throw conflict(`${MOST_OF_SESSION} processes of this session run already: kill one first.`);
    }
    const ofAgent = open.filter((record) => record.agent === agent).length;
    if (ofAgent >= MOST_OF_AGENT) {
      throw conflict(
        `${MOST_OF_AGENT} processes of this agent run already, in all its sessions: one has to end first.`,
      );
    }
  }

  /** What is too old goes. Never rejects. */
  async #drop(): Promise<void> {
    const records = [...this.#all.values()].map(({ record }) => record);
    for (const id of recordsToDrop(records)) {
      try {
        await this.#remove(id);
      } catch (error) {
        this.#deps.log.warn({ process: id, err: error }, 'an old process cannot be removed');
      }
    }
  }

  async #remove(id: string): Promise<void> {
    const one = this.#all.get(id);
    this.#all.delete(id);
    await one?.forget();
    await this.#deps.store.remove(id);
  }
}

function conflict(message: string): DuragentError {
  return new DuragentError('conflict', message);
}
