import { randomUUID } from 'node:crypto';
import {
  DuragentError,
  type NewSchedule,
  type ScheduleDetail,
  scheduleDetailSchema,
  type ScheduleList,
  scheduleListSchema,
  type ScheduleRunAccepted,
  scheduleRunAcceptedSchema,
  type ScheduleView,
  scheduleViewSchema,
} from '@duragent/protocol';
import { sanitizeLine } from '../terminal/sanitize.ts';
import {
  accept,
  ApiCalls,
  type CallOptions,
  type Reader,
  type ResolveServer,
} from './api-calls.ts';

const PATH = '/api/v1/schedules';

/** What people do with the schedules of a server. A lost answer is asked for again by the request's own key. */
export class ScheduleClient {
  readonly #calls: ApiCalls;

  constructor(resolve: ResolveServer) {
    this.#calls = new ApiCalls(resolve);
  }

  async list(options: CallOptions): Promise<ScheduleList> {
    const read: Reader<ScheduleList> = (body) => scheduleListSchema.safeParse(body).data ?? null;
    return await this.#calls.call({ method: 'GET', path: PATH }, read, options);
  }

  /** With its newest runs, newest first. @throws DuragentError not_found, config_invalid for a broken one */
  async show(id: string, runs: number, options: CallOptions): Promise<ScheduleDetail> {
    const read: Reader<ScheduleDetail> = (body) =>
      scheduleDetailSchema.safeParse(body).data ?? null;
    const path = `${pathOf(id)}?runs=${String(runs)}`;
    return await this.#calls.call({ method: 'GET', path }, read, options);
  }

  /** @throws DuragentError invalid_request, agent_not_found, conflict */
  async create(schedule: NewSchedule, options: CallOptions): Promise<ScheduleView> {
    const read: Reader<ScheduleView> = (body) => scheduleViewSchema.safeParse(body).data ?? null;
    const request = { method: 'POST', path: PATH, body: schedule } as const;
    return await this.#calls.call({ ...request, idempotencyKey: randomUUID() }, read, options);
  }

  /** @throws DuragentError not_found */
  async remove(id: string, options: CallOptions): Promise<void> {
    const request = { method: 'DELETE', path: pathOf(id) } as const;
    await this.#calls.call(request, accept, { ...options, patienceMs: 0 });
  }

  /** @throws DuragentError not_found, conflict */
  async run(id: string, options: CallOptions): Promise<ScheduleRunAccepted> {
    const read: Reader<ScheduleRunAccepted> = (body) =>
      scheduleRunAcceptedSchema.safeParse(body).data ?? null;
    const request = { method: 'POST', path: `${pathOf(id)}/run`, body: {} } as const;
    return await this.#calls.call({ ...request, idempotencyKey: randomUUID() }, read, options);
  }

  /**
   * The id that a person means by it, by the schedule's name, or by a beginning that only it has.
   * @throws DuragentError not_found, or usage when several are meant
   */
  async pick(wanted: string, options: CallOptions): Promise<string> {
    const { faults, schedules } = await this.list(options);
    const ids = [...new Set([...schedules, ...faults].map(({ id }) => id))];
    if (ids.includes(wanted)) return wanted;
    const named = schedules.filter(({ name }) => name === wanted).map(({ id }) => id);
    const meant = named.length > 0 ? named : ids.filter((id) => begins(id, wanted));
    const [only] = meant;
    if (only !== undefined && meant.length === 1) return only;
    const shown = sanitizeLine(wanted);
    if (only === undefined) {
      throw new DuragentError(
        'not_found',
        `There is no schedule ${shown}. \`duragent schedules list\` shows those there are.`,
      );
    }
    const lines = meant.slice(0, 10).map((id) => `\n  ${sanitizeLine(id)}`);
    throw new DuragentError(
      'usage',
      `${shown} may be several schedules; give the id:${lines.join('')}`,
    );
  }
}

function pathOf(id: string): string {
  return `${PATH}/${encodeURIComponent(id)}`;
}

/** With or without `sched_`, in any case of letters. */
function begins(id: string, wanted: string): boolean {
  const start = wanted.toLowerCase();
  return start.length >= 4 && (id.startsWith(start) || id.startsWith(`sched_${start}`));
}
