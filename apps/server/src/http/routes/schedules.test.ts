import Router from '@koa/router';
import Koa from 'koa';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:http';
import { scheduleDetailSchema, scheduleListSchema, scheduleViewSchema } from '@duragent/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import { ScheduleDesk } from '../../runtime/scheduler/schedule-desk.ts';
import { aSchedule, NOON, TestScheduling, ticks } from '../../runtime/scheduler/testing.ts';
import { Authenticator, requireScope } from '../auth.ts';
import type { HttpState } from '../context.ts';
import { problemOf } from '../problem.ts';
import { RequestScope } from '../request-scope.ts';
import { call, FILE_TOKEN } from '../testing-client.ts';
import { ADMIN_TOKEN, API_TOKEN, testAgent } from '../testing.ts';
import { scheduleRoutes } from './schedules.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
  }
});

/** The routes of schedules alone, with the server's own authentication. */
async function start() {
  const rig = new TestScheduling();
  await rig.start();
  const schedules = new ScheduleDesk({
    scheduler: rig.scheduler,
    agents: memoryAgentCatalog([testAgent('assistant')]),
    clock: rig.clock,
    timezone: () => 'UTC',
    defaultAgent: () => null,
    gateways: () => ['telegram', 'chat'],
    process: (id) => Promise.resolve(rig.processes.get(id) ?? null),
  });
  const app = new Koa<HttpState>();
  const tokens = { fileToken: FILE_TOKEN, apiToken: API_TOKEN, adminToken: ADMIN_TOKEN };
  const authenticator = new Authenticator({ ...tokens, cliEnabled: true }, rig.clock);
  app.use(async (ctx, next) => {
    ctx.state.scope = new RequestScope('request', ctx.res);
    try {
      ctx.state.scope.caller = authenticator.authenticate(ctx.req);
      await next();
    } catch (error) {
      const { body, status } = problemOf(error, 'request');
      ctx.status = status;
      ctx.body = JSON.stringify(body);
      ctx.type = 'application/problem+json';
    }
  });
  const router = new Router<HttpState>({ sensitive: true, strict: true });
  scheduleRoutes(
    (method, path, scope, handler) => {
      router.register(path, [method], (ctx) => {
        if (scope !== null) requireScope(ctx.state.scope.caller, scope);
        return handler(ctx);
      });
    },
    { schedules },
  );
  app.use(router.routes());
  const server = createServer((req, res) => void app.callback()(req, res));
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (method: string, path: string, more: object = {}) =>
    call(port, `/api/v1/schedules${path}`, { method, ...more });
  return { rig, ask };
}

const chatOf = (gateway: string) => ({ gateway, account: gateway, chat_id: '5' });
const body = { spec: { cron: '0 7 * * *' }, payload: { kind: 'task', text: 'Look.' } };

describe('the routes of schedules', () => {
  test('make, list, show, run and remove one', async () => {
    const { ask, rig } = await start();
    const made = await ask('POST', '', { body });
    expect(made.status).toBe(201);
    const { id } = scheduleViewSchema.parse(made.json);
    expect(made.headers.location).toBe(`/api/v1/schedules/${id}`);
    expect(made.json).toMatchObject({
      agent: 'assistant',
      created_by: 'cli',
      spec: { zone: 'UTC' },
    });

    const run = await ask('POST', `/${id}/run`);
    expect(run).toMatchObject({ status: 202, json: { id, planned: new Date(NOON).toISOString() } });
    await ticks();

    const list = scheduleListSchema.parse((await ask('GET', '?agent=assistant')).json);
    expect(list.schedules).toMatchObject([{ id, last_run: { outcome: 'ok', manual: true } }]);
    expect((await ask('GET', '?agent=other')).json).toEqual({ schedules: [], faults: [] });
    const detail = scheduleDetailSchema.parse((await ask('GET', `/${id}?runs=1`)).json);
    expect(detail.runs).toHaveLength(1);

    expect((await ask('DELETE', `/${id}`)).status).toBe(204);
    expect(rig.kept.schedules.size).toBe(0);
    for (const [method, path] of [
      ['GET', `/${id}`],
      ['DELETE', `/${id}`],
      ['POST', `/${id}/run`],
    ] as const) {
      expect(await ask(method, path)).toMatchObject({ status: 404, json: { code: 'not_found' } });
    }
  });

  test('make one and run it once for one Idempotency-Key of one caller', async () => {
    const { ask, rig } = await start();
    const headers = { 'Idempotency-Key': 'once' };
    const first = await ask('POST', '', { body, headers });
    const again = await ask('POST', '', { body, headers });
    expect(again).toMatchObject({ status: 201, json: { id: first.json['id'] } });
    const other = await ask('POST', '', { body, headers, token: ADMIN_TOKEN });
    expect(other.json).toMatchObject({ created_by: 'admin' });
    expect(rig.kept.schedules.size).toBe(2);
    const path = `/${String(first.json['id'])}/run`;
    const run = await ask('POST', path, { headers });
    await rig.clock.advance(1000);
    expect((await ask('POST', path, { headers })).json).toEqual(run.json);
    expect(rig.handed).toHaveLength(1);
  });

  test.each([
    ['GET', '', 'read', [FILE_TOKEN, API_TOKEN]],
    ['GET', '/morning', 'read', [FILE_TOKEN, API_TOKEN]],
    ['POST', '', 'admin', [FILE_TOKEN, ADMIN_TOKEN]],
    ['DELETE', '/morning', 'admin', [FILE_TOKEN, ADMIN_TOKEN]],
    ['POST', '/morning/run', 'admin', [FILE_TOKEN, ADMIN_TOKEN]],
  ])('%s %s needs the scope %s', async (method, path, scope, allowed) => {
    const { ask } = await start();
    for (const token of [FILE_TOKEN, API_TOKEN, ADMIN_TOKEN]) {
      const reply = await ask(method, path, { token });
      if (allowed.includes(token)) expect(reply.status).not.toBe(403);
      else expect(reply).toMatchObject({ status: 403, json: { code: 'forbidden', scope } });
    }
  });

  test.each([
    [{ ...body, spec: { cron: '* * * * * *' } }, '/spec/cron'],
    [{ ...body, spec: { every: '5s' } }, '/spec/every'],
    [{ ...body, spec: { at: '2020-01-01T00:00:00Z' } }, '/spec/at'],
    [{ ...body, spec: { cron: '' } }, '/spec/cron'],
    [{ ...body, spec: { cron: null } }, '/spec/cron'],
    [{ ...body, spec: { every: 5 } }, '/spec/every'],
    [{ ...body, spec: { at: 'noon', zone: 'UTC' } }, '/spec/at'],
    [{ ...body, spec: { cron: '0 7 * * *', zone: 5 } }, '/spec/zone'],
    [{ ...body, spec: { at: '2030-01-01T00:00:00Z', every: '1h' } }, '/spec', 'exactly one of'],
    [{ ...body, spec: { zone: 'UTC' } }, '/spec', 'exactly one of at, every, cron'],
    [{ ...body, spec: '0 7 * * *' }, '/spec', 'exactly one of'],
    [{ payload: body.payload }, '/spec', 'exactly one of'],
    [{ ...body, spec: { every: '1h', zone: 'UTC' } }, '/spec'],
    [{ ...body, payload: { kind: 'task', text: '' } }, '/payload/text'],
    [{ ...body, payload: { kind: 'message', text: 'x' } }, '/payload/kind'],
    [
      { ...body, deliver: [chatOf('telegram'), chatOf('telegrm')] },
      '/deliver/1/gateway',
      'there is no gateway named telegrm; there are: telegram, chat',
    ],
    [{ ...body, target: { session: '../x' } }, '/target'],
    [{ ...body, id: 'mine' }, ''],
    [{}, '/payload'],
  ])('refuse %j', async (wrong: object, pointer: string, words = '') => {
    const { ask, rig } = await start();
    const reply = await ask('POST', '', { body: wrong });
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    const errors = reply.json['errors'] as { pointer: string; message: string }[];
    expect(errors[0]?.pointer.startsWith(pointer)).toBe(true);
    expect(errors[0]?.message).toContain(words);
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('take no id that is none', async () => {
    const { ask } = await start();
    for (const id of ['..%2fx', 'A', 'sched_1', 'x'.repeat(64)]) {
      expect(await ask('DELETE', `/${id}`)).toMatchObject({
        status: 404,
        json: { code: 'not_found' },
      });
    }
  });

  test('name a broken one', async () => {
    const { ask, rig } = await start();
    const fault = {
      id: 'bad',
      file: '/s/bad.yaml',
      line: 3,
      column: 7,
      message: 'spec.zone is missing',
    };
    const { list } = rig.store;
    rig.store = { ...rig.store, list: async () => ({ ...(await list()), faults: [fault] }) };
    rig.put(aSchedule('good'));
    await rig.clock.advance(6000);
    expect((await ask('GET', '')).json).toMatchObject({
      schedules: [{ id: 'good' }],
      faults: [fault],
    });
    expect(await ask('GET', '/bad')).toMatchObject({
      status: 409,
      json: { code: 'config_invalid', detail: '/s/bad.yaml:3:7: spec.zone is missing' },
    });
  });
});
