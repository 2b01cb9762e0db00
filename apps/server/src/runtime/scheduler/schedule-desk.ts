import { hash, randomUUID } from 'node:crypto';
import type {
  NewSchedule,
  Schedule,
  ScheduleDetail,
  ScheduleList,
  ScheduleView,
} from '@duragent/protocol';
import { DuragentError, scheduleIdPattern } from '@duragent/protocol';
import { hasEnded, type ProcessRecord } from '../../core/processes/process-record.ts';
import { checkSchedule } from '../../core/schedule/check-schedule.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';
import type { Clock } from '../../ports/clock.ts';
import { scheduleIdOf } from './schedule-id.ts';
import type { Scheduler } from './scheduler.ts';

export interface ScheduleDeskDeps {
  scheduler: Pick<Scheduler, 'list' | 'find' | 'show' | 'create' | 'remove' | 'runNow'>;
  agents: AgentCatalog;
  clock: Clock;
  /** IANA name of the zone of cron rules that name none. */
  timezone: () => string;
  defaultAgent: () => string | null;
  /** Names of the gateways there are. */
  gateways: () => readonly string[];
  /** What is known of a background process; null: there is none. */
  process: (id: string) => Promise<ProcessRecord | null>;
}

/** The most schedules there may be, and of one agent; those that are done do not count. */
const MOST = 1000;
const MOST_OF_AGENT = 100;

/** Where people and agents make schedules, look at them and end them. */
export class ScheduleDesk {
  readonly #deps: ScheduleDeskDeps;

  constructor(deps: ScheduleDeskDeps) {
    this.#deps = deps;
  }

  /** All schedules, oldest first, and why others do not run. */
  list(): ScheduleList {
    return this.#deps.scheduler.list();
  }

  /** One schedule; null: there is none, or it is broken. */
  find(id: string): ScheduleView | null {
    return this.#deps.scheduler.find(id);
  }

  /** One schedule with its newest runs. @throws DuragentError not_found, config_invalid for a broken one. */
  show(id: string, runs: number): Promise<ScheduleDetail> {
    return this.#deps.scheduler.show(id, runs);
  }

  /** @throws DuragentError not_found */
  remove(id: string): Promise<void> {
    return this.#deps.scheduler.remove(id);
  }

  /**
   * Runs it now. @returns the instant that names the run.
   * @throws DuragentError not_found, conflict, config_invalid
   */
  run(id: string, idempotencyKey?: string): Promise<string> {
    const key = idempotencyKey && hash('sha256', idempotencyKey, 'hex').slice(0, 16);
    return this.#deps.scheduler.runNow(id, key);
  }

  /**
   * Makes a schedule; with a seed that was used before, gives the one that it made.
   * @throws DuragentError invalid_request, agent_not_found, conflict where there are too many.
   */
  async create(
    request: NewSchedule,
    { by, seed = randomUUID() }: { by: string; seed?: string | undefined },
  ): Promise<ScheduleView> {
    const { clock, scheduler } = this.#deps;
    const id = scheduleIdOf(seed);
    const first = this.find(id);
    if (first) return first;
    const agent = await this.#agent(request.agent);
    const schedule = this.complete(request, { id, agent, by });
    if ('at' in schedule.spec && Date.parse(schedule.spec.at) <= clock.now()) {
      throw invalid('spec.at', `it is past: now it is ${new Date(clock.now()).toISOString()}`);
    }
    this.#checkChats(schedule);
    await this.#checkProcess(schedule);
    await this.#makeRoom();
    return scheduler.create(schedule, () => this.#assertRoom(agent));
  }

  /** A schedule with all that a request leaves out. @throws DuragentError invalid_request */
  complete(
    request: NewSchedule,
    { agent, by, id }: { agent: string; by: string; id: string },
  ): Schedule {
    const { spec } = request;
    const schedule: Schedule = {
      ...request,
      id,
      agent,
      created_at: new Date(this.#deps.clock.now()).toISOString(),
      created_by: by,
      spec: 'cron' in spec ? { cron: spec.cron, zone: spec.zone ?? this.#deps.timezone() } : spec,
      target: request.target ?? 'isolated',
      misfire: request.misfire ?? 'run_once',
      paused: request.paused ?? false,
    };
    const flaw = checkSchedule(schedule);
    if (flaw) throw invalid(flaw.path.join('.'), flaw.message);
    return schedule;
  }

  async #agent(asked: string | undefined): Promise<string> {
    const name = asked ?? this.#deps.defaultAgent();
    if (name !== null && (await this.#deps.agents.get(name))) return name;
    const known = (await this.#deps.agents.list()).agents.map((agent) => agent.name);
    const [only] = known;
    if (name === null && known.length === 1 && only !== undefined) return only;
    const what =
      name === null ? 'Say which agent: there is no default_agent' : `There is no agent ${name}`;
    const list = known.length === 0 ? 'There is none that loads' : `There are: ${known.join(', ')}`;
    throw new DuragentError('agent_not_found', `${what}. ${list}.`, { details: { known } });
  }

  /** What nobody can deliver is refused; a gateway that goes later leaves its schedules as they are. */
  #checkChats({ deliver = [] }: Schedule): void {
    const known = this.#deps.gateways();
    const at = deliver.findIndex(({ gateway }) => !known.includes(gateway));
    const chat = deliver[at];
    if (chat === undefined) return;
    const there = known.length === 0 ? 'there is none' : `there are: ${known.join(', ')}`;
    const message = `there is no gateway named ${chat.gateway}; ${there}`;
    throw invalid(`deliver.${at}.gateway`, message);
  }

  /** It can end with a process that runs, and that its agent, and its session if it has one, started. */
  async #checkProcess({ agent, process, target }: Schedule): Promise<void> {
    if (process === undefined) return;
    const record = await this.#deps.process(process);
    const session = typeof target === 'object' && 'session' in target ? target.session : null;
    if (record === null) throw invalid('process', `there is no background process ${process}`);
    if (record.agent !== agent) {
      throw invalid('process', `it was started by the agent ${record.agent}, not by ${agent}`);
    }
    if (session !== null && record.session !== session) {
      throw invalid('process', `it was started in ${record.session}, not in the target's session`);
    }
    if (hasEnded(record)) {
      throw invalid('process', `${process} has ended; name one that runs, or none`);
    }
  }

  /** What is done goes before its time where nothing else can come. */
  async #makeRoom(): Promise<void> {
    const { scheduler } = this.#deps;
    const { faults, schedules } = scheduler.list();
    const tooMany = schedules.length + faults.length - MOST + 1;
    const done = schedules.filter(
      ({ id, state }) => state === 'done' && scheduleIdPattern.test(id),
    );
    for (const { id } of done.slice(0, Math.max(0, tooMany))) await scheduler.remove(id);
  }

  #assertRoom(agent: string): void {
    const { faults, schedules } = this.#deps.scheduler.list();
    if (schedules.length + faults.length >= MOST) {
      throw new DuragentError(
        'conflict',
        `There are ${MOST} schedules, and no more are kept: remove some (duragent schedules list).`,
      );
    }
    const own = schedules.filter((one) => one.agent === agent && one.state !== 'done');
    if (own.length < MOST_OF_AGENT) return;
    throw new DuragentError(
      'conflict',
      `The agent ${agent} has ${MOST_OF_AGENT} schedules, and may have no more: remove some (duragent schedules list).`,
    );
  }
}

function invalid(path: string, message: string): DuragentError {
  const pointer = `/${path.replaceAll('.', '/')}`;
  return new DuragentError('invalid_request', `The schedule does not fit: ${path}: ${message}.`, {
    details: { errors: [{ pointer, message }] },
  });
}
