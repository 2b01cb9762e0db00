import {
  DuragentError,
  MAX_LISTED_RUNS,
  newScheduleSchema,
  scheduleIdSchema,
  type ScheduleDetail,
  type ScheduleList,
  type ScheduleRunAccepted,
} from '@duragent/protocol';
import type { ScheduleDesk } from '../../runtime/scheduler/schedule-desk.ts';
import { readJson } from '../body.ts';
import type { RouteContext } from '../context.ts';
import { idempotencyKey, noBody, queryNumber, queryText } from '../input.ts';
import { type AddRoute, sendJson, sendNothing } from '../route.ts';

/** What the routes use of schedules. */
export interface ScheduleRouteDeps {
  schedules: Pick<ScheduleDesk, 'list' | 'show' | 'create' | 'remove' | 'run'>;
}

/** Schedules: list, show with their runs, make, remove, run now. */
export function scheduleRoutes(add: AddRoute, { schedules }: ScheduleRouteDeps): void {
  /** Oldest first, with the faults of those that do not run. */
  add('GET', '/api/v1/schedules', 'read', (ctx) => {
    const agent = queryText(ctx, 'agent');
    const { faults, schedules: all } = schedules.list();
    const found = all.filter((schedule) => agent === null || schedule.agent === agent);
    sendJson(ctx, 200, { schedules: found, faults } satisfies ScheduleList);
  });

  add('GET', '/api/v1/schedules/:id', 'read', async (ctx) => {
    const limit = queryNumber(ctx, 'runs', { min: 0, max: MAX_LISTED_RUNS, fallback: 20 });
    const detail: ScheduleDetail = await schedules.show(scheduleId(ctx), limit);
    sendJson(ctx, 200, detail);
  });

  add('POST', '/api/v1/schedules', 'admin', async (ctx) => {
    const seed = idempotencyKey(ctx, 'schedules');
    const body = await readJson(ctx, newScheduleSchema);
    const { caller } = ctx.state.scope;
    const by = caller === null || caller.name === 'file' ? 'cli' : caller.name;
    const made = await schedules.create(body, { by, seed });
    ctx.set('Location', `/api/v1/schedules/${made.id}`);
    sendJson(ctx, 201, made);
  });

  add('DELETE', '/api/v1/schedules/:id', 'admin', async (ctx) => {
    await schedules.remove(scheduleId(ctx));
    sendNothing(ctx);
  });

  /** Answers once it is durable that the run is owed. */
  add('POST', '/api/v1/schedules/:id/run', 'admin', async (ctx) => {
    const id = scheduleId(ctx);
    const key = idempotencyKey(ctx, `schedules/${id}/run`);
    await readJson(ctx, noBody);
    const planned = await schedules.run(id, key);
    sendJson(ctx, 202, { id, planned } satisfies ScheduleRunAccepted);
  });
}

/** The schedule of the path. @throws DuragentError not_found for what is no id: it is never cleaned. */
function scheduleId(ctx: RouteContext): string {
  const id = ctx.params['id'] ?? '';
  if (scheduleIdSchema.safeParse(id).success) return id;
  throw new DuragentError(
    'not_found',
    'There is no such schedule; ids look like sched_ and 26 letters and digits (duragent schedules list).',
  );
}
