import type { ReloadReport } from '@duragent/protocol';
import {
  accessListSchema,
  DuragentError,
  gatewayListSchema,
  outboxPageSchema,
  reloadReportSchema,
  sessionViewSchema,
} from '@duragent/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../../adapters/session-store/memory.ts';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import type { Chats, PartToSend } from '../../runtime/chats.ts';
import { noChats } from '../../runtime/testing.ts';
import type { SessionActor } from '../../runtime/session-actor.ts';
import type { Gateways, HttpDeps } from '../context.ts';
import { call, type Reply, until } from '../testing-client.ts';
import { ADMIN_TOKEN, API_TOKEN, startTestServer, testAgent, type TestServer } from '../testing.ts';

/** Chats whose posts end as the test says; each is held until then. */
class HeldChats implements Chats {
  readonly limits = noChats.limits;
  readonly preview = noChats.preview;
  readonly progress = noChats.progress;
  readonly working = noChats.working;
  present = new Set<string>();
  /** How posts end at once; null: they wait in `held`. */
  end: DeliveryEnd | null = null;
  readonly sent: PartToSend[] = [];
  held: ((end: DeliveryEnd) => void) | null = null;

  showsPreviews(): boolean {
    return false;
  }
  isPresent(gateway: string): boolean {
    return this.present.has(gateway);
  }

  async send(part: PartToSend, { begin, signal }: Parameters<Chats['send']>[1]) {
    if (!this.present.has(part.chat.gateway)) return noChats.send(part, { begin, signal });
    await begin();
    this.sent.push(part);
    if (this.end) return this.end;
    const { promise, resolve, reject } = Promise.withResolvers<DeliveryEnd>();
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
    this.held = resolve;
    return await promise;
  }
}

const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    expect(server.errors()).toEqual([]);
    await server[Symbol.asyncDispose]();
  }
});

async function start(change?: (deps: HttpDeps) => Partial<HttpDeps>, chats: Chats = noChats) {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  const server = await startTestServer({ store: memorySessionStore(), agents, chats }, change);
  servers.push(server);
  return {
    server,
    get: (path: string, token?: string) =>
      call(server.port, `/api/v1${path}`, token === undefined ? {} : { token }),
    post: (path: string) => call(server.port, `/api/v1${path}`, { method: 'POST' }),
    del: (path: string) => call(server.port, `/api/v1${path}`, { method: 'DELETE' }),
  };
}

/** Gateways as a test says they are. */
function gatewaysOf(change: Partial<Gateways>): (deps: HttpDeps) => Partial<HttpDeps> {
  return (deps) => ({ gateways: { ...deps.gateways, ...change } });
}

const telegram: ReturnType<Gateways['list']>[number] = {
  name: 'telegram',
  state: 'ready',
  reason: null,
  since: '2026-01-01T00:00:00.000Z',
  pid: 7,
  restarts: 2,
  dropped: 0,
  unknown: 1,
  ready: {
    type: 'ready',
    gateway: 'telegram',
    version: '1.0.0',
    protocol: 'v1',
    capabilities: ['edit'],
    identity: { id: '5', username: 'bot' },
  },
};

describe('the routes of operators', () => {
  const routes: [method: string, path: string][] = [
    ['GET', '/admin/gateways'],
    ['POST', '/admin/gateways/telegram/restart'],
    ['GET', '/admin/gateways/telegram/logs'],
    ['GET', '/admin/outbox'],
    ['POST', '/admin/outbox/out_x/retry'],
    ['POST', '/admin/outbox/out_x/drop'],
    ['GET', '/admin/access'],
    ['POST', '/admin/access/approve/X'],
    ['DELETE', '/admin/access/helper/telegram:5'],
    ['POST', '/admin/reload'],
  ];

  test.each(routes)('%s %s needs the scope admin', async (method, path) => {
    const { server } = await start();
    const reply = await call(server.port, `/api/v1${path}`, { method, token: API_TOKEN });
    expect(reply).toMatchObject({ status: 403, json: { code: 'forbidden', scope: 'admin' } });
    const allowed = await call(server.port, `/api/v1${path}`, { method, token: ADMIN_TOKEN });
    expect(allowed.status).not.toBe(403);
  });

  test.each(routes)('%s %s does not exist when admin is disabled', async (method, path) => {
    const { server } = await start((deps) => ({ auth: { ...deps.auth, adminEnabled: false } }));
    const reply = await call(server.port, `/api/v1${path}`, { method });
    expect(reply).toMatchObject({ status: 404, json: { code: 'not_found' } });
  });
});

describe('gateways', () => {
  test('are listed with what they announced, and nothing else of it', async () => {
    const { get } = await start(gatewaysOf({ list: () => [telegram] }));
    const { json } = await get('/admin/gateways');
    expect(json).toEqual({
      gateways: [
        {
          ...telegram,
          ready: {
            gateway: 'telegram',
            version: '1.0.0',
            protocol: 'v1',
            capabilities: ['edit'],
            identity: { id: '5', username: 'bot' },
          },
        },
      ],
    });
    expect(gatewayListSchema.safeParse(json).success).toBe(true);
  });

  test('are restarted by name; an unknown one is 404', async () => {
    const restarted: string[] = [];
    const { post } = await start((deps) => ({
      gateways: {
        ...deps.gateways,
        restart: async (name) => {
          if (name !== 'telegram') return deps.gateways.restart(name);
          restarted.push(name);
        },
      },
    }));
    expect((await post('/admin/gateways/telegram/restart')).status).toBe(202);
    expect(restarted).toEqual(['telegram']);
    expect(await post('/admin/gateways/nobody/restart')).toMatchObject({
      status: 404,
      json: { code: 'not_found' },
    });
  });

  test('show the newest lines of their log', async () => {
    const { get } = await start(gatewaysOf({ logOf: () => ['one', 'two', 'three'] }));
    expect((await get('/admin/gateways/telegram/logs')).json).toEqual({
      lines: ['one', 'two', 'three'],
    });
    expect((await get('/admin/gateways/telegram/logs?lines=2')).json).toEqual({
      lines: ['two', 'three'],
    });
    expect((await get('/admin/gateways/telegram/logs?lines=0')).status).toBe(400);
  });
});

const chat = {
  gateway: 'telegram',
  account: 'telegram',
  chat_id: '-100',
  chat_type: 'group',
  inbox: 3,
  by: 'server',
} as const;

async function makeBound(server: TestServer, thread_id?: string): Promise<SessionActor> {
  const bound = thread_id === undefined ? chat : { ...chat, thread_id };
  const { gateway, account, chat_id } = chat;
  const origin = { kind: 'gateway', chat: { gateway, account, chat_id } } as const;
  return await server.sessions.create({ origin, chat: bound });
}

describe('a session that is bound to a chat', () => {
  test('shows its chats, settings and debts, and nothing of the inside', async () => {
    const { server, get } = await start();
    const actor = await makeBound(server, '7');
    await actor.set('queue', 'batch', 'telegram:1');
    const { json } = await get(`/sessions/${actor.session}`);
    const { by: _, inbox: __, ...address } = chat;
    expect(json).toMatchObject({
      chats: [{ ...address, thread_id: '7' }],
      settings: { queue: 'batch', activation: null },
      owed: 0,
      dead: 0,
    });
    const [shown] = json['chats'] as object[];
    expect(Object.keys(shown ?? {}).sort()).toEqual(
      ['account', 'chat_id', 'chat_type', 'gateway', 'thread_id'].sort(),
    );
    const known = new Set(Object.keys(sessionViewSchema.shape));
    expect(Object.keys(json).filter((key) => !known.has(key))).toEqual([]);
  });

  test('is active while its gateway is there, whether it is open or not', async () => {
    const chats = new HeldChats();
    const { server, get } = await start(undefined, chats);
    const { session } = await makeBound(server);
    const status = async () => {
      const { json } = await get(`/sessions/${session}`);
      return [json['status'], json['clients']];
    };
    server.sessions.resume();
    server.clock.advance(75_000);
    await until(() => server.sessions.opened(session) === undefined);
    expect(await status()).toEqual(['running', 0]);
    chats.present.add('telegram');
    expect(await status()).toEqual(['active', 1]);
    await server.sessions.open(session);
    server.sessions.presenceChanged();
    expect(await status()).toEqual(['active', 1]);
    await server.sessions.end(session, 'user');
    expect((await status())[0]).toBe('ended');
  });

  test('is listed by its gateway', async () => {
    const { server, get } = await start();
    const { session } = await makeBound(server);
    await server.sessions.create({ origin: { kind: 'http' } });
    const list = async (gateway: string) => {
      const { json } = await get(`/sessions?gateway=${gateway}`);
      return (json['sessions'] as { session: string }[]).map((one) => one.session);
    };
    expect(await list('telegram')).toEqual([session]);
    expect(await list('slack')).toEqual([]);
    await server.sessions.end(session, 'user');
    expect(await list('telegram')).toEqual([session]);
  });

  test('is found by its chat and thread, until it has ended', async () => {
    const { server, get } = await start();
    const made = await makeBound(server);
    const asked: object[] = [];
    const other = await start((deps) => ({
      sessions: server.sessions,
      gateways: {
        ...deps.gateways,
        sessionOf: (address) => {
          asked.push(address);
          return address.chat_id === 'a/b c' ? made.session : null;
        },
      },
    }));
    const found = await other.get('/chats/telegram/a%2Fb%20c?thread=7', API_TOKEN);
    expect(found).toMatchObject({ status: 200, json: { session: made.session } });
    expect(asked).toEqual([{ gateway: 'telegram', chat_id: 'a/b c', thread_id: '7' }]);
    expect(await other.get('/chats/telegram/other')).toMatchObject({
      status: 404,
      json: { code: 'not_found' },
    });
    expect((await get('/chats/NO/x')).status).toBe(404);
    await server.sessions.end(made.session, 'user');
    expect((await other.get('/chats/telegram/a%2Fb%20c')).status).toBe(404);
  });
});

/** A server with a session whose answer to `text` is dead: the chat refused it. */
async function startWithDead(text = 'Hello there') {
  const chats = new HeldChats();
  chats.present.add('telegram');
  chats.end = { outcome: 'dead', error: { code: 'blocked', message: 'The user blocked the bot.' } };
  const parts = await start(undefined, chats);
  const actor = await makeBound(parts.server);
  await actor.receive({
    content: [{ type: 'text', text }],
    handling: 'turn',
    source: { kind: 'http' },
  });
  // What was said elsewhere is mirrored, and so is the answer: both are refused.
  await until(() => actor.outbox.dead.length === 2);
  return { ...parts, chats, actor };
}

async function outbox(get: (path: string) => Promise<Reply>, query = '') {
  const { json } = await get(`/admin/outbox${query}`);
  expect(outboxPageSchema.safeParse(json).success).toBe(true);
  return json as unknown as ReturnType<typeof outboxPageSchema.parse>;
}

describe('the outbox', () => {
  test('shows what died, where it was to go, why, and how it begins', async () => {
    const { get, actor } = await startWithDead();
    const { deliveries, cursor } = await outbox(get);
    expect(cursor).toBeNull();
    expect(deliveries).toHaveLength(2);
    expect(deliveries[1]).toMatchObject({
      session: actor.session,
      gateway: 'telegram',
      chat_id: '-100',
      state: 'dead',
      part: 1,
      parts: 1,
      attempt: 1,
      code: 'blocked',
      message: 'The user blocked the bot.',
      preview: 'Hello world',
    });
    expect(deliveries[0]?.preview).toBe('somebody (http): Hello there');
    expect((await get(`/sessions/${actor.session}`)).json).toMatchObject({ dead: 2, owed: 0 });
  });

  test('cuts what it shows of a text', async () => {
    const { get } = await startWithDead(`${'word '.repeat(100)}\n\u{1F600}`);
    const [first] = (await outbox(get)).deliveries;
    expect(first?.preview.length).toBeLessThanOrEqual(80);
    expect(first?.preview.endsWith('…')).toBe(true);
  });

  test('opens a closed session to show it, and pages by session', async () => {
    const { server, get, actor } = await startWithDead();
    const second = await makeBound(server);
    await second.receive({
      content: [{ type: 'text', text: 'Two' }],
      handling: 'turn',
      source: { kind: 'http' },
    });
    await until(() => second.outbox.dead.length === 2);
    server.sessions.resume();
    server.clock.advance(75_000);
    await until(() => server.sessions.load.open === 0);
    const page = await outbox(get, '?limit=1');
    expect(new Set(page.deliveries.map((one) => one.session))).toEqual(new Set([second.session]));
    expect(page.cursor).toBe(second.session);
    const rest = await outbox(get, `?limit=1&cursor=${second.session}`);
    expect(rest.deliveries.map((one) => one.session)).toEqual([actor.session, actor.session]);
    expect(rest.cursor).toBeNull();
    expect((await outbox(get, `?session=${actor.session}`)).deliveries).toHaveLength(2);
    expect((await outbox(get, '?gateway=slack')).deliveries).toEqual([]);
    expect((await get('/admin/outbox?session=nonsense')).status).toBe(404);
  });

  test('lets a dead delivery be tried again, once', async () => {
    const { get, post, chats, actor } = await startWithDead();
    const out = (await outbox(get)).deliveries[1]?.out ?? '';
    chats.end = null;
    chats.sent.length = 0;
    const reply = await post(`/admin/outbox/${out}/retry`);
    expect(reply).toMatchObject({ status: 202, json: { out, session: actor.session } });
    await until(() => chats.held !== null);
    expect((await outbox(get)).deliveries[0]).toMatchObject({ out, state: 'sending' });
    // It is under way: neither may be done with it.
    for (const what of ['retry', 'drop']) {
      const refused = await post(`/admin/outbox/${out}/${what}`);
      expect(refused).toMatchObject({ status: 409, json: { code: 'conflict' } });
      expect(refused.json['detail']).toContain('being sent');
    }
    chats.held?.({ outcome: 'delivered', message: 'm1' });
    await until(() => actor.outbox.owed.length === 0);
    expect((await outbox(get)).deliveries.map((one) => one.out)).not.toContain(out);
    expect(await post(`/admin/outbox/${out}/retry`)).toMatchObject({
      status: 404,
      json: { code: 'not_found' },
    });
  });

  test('lets what is dead or waits be given up, and what waits not be tried again', async () => {
    const { server, get, post, chats, actor } = await startWithDead();
    const [dead, again] = (await outbox(get)).deliveries.map((one) => one.out);
    expect((await post(`/admin/outbox/${dead}/drop`)).status).toBe(200);
    expect((await outbox(get)).deliveries.map((one) => one.out)).toEqual([again]);
    chats.present.clear();
    const session = `?session=${actor.session}`;
    expect((await post(`/admin/outbox/${again}/retry${session}`)).status).toBe(202);
    expect((await outbox(get)).deliveries).toMatchObject([{ out: again, state: 'owed' }]);
    expect(server.sessions.isOwing).toBe(true);
    const refused = await post(`/admin/outbox/${again}/retry`);
    expect(refused).toMatchObject({ status: 409, json: { code: 'conflict' } });
    expect(refused.json['detail']).toContain('still owed');
    expect((await post(`/admin/outbox/${again}/drop`)).status).toBe(200);
    expect(await outbox(get)).toEqual({ deliveries: [], unreadable: [], cursor: null });
    expect((await post(`/admin/outbox/${again}/drop`)).status).toBe(404);
    expect(server.sessions.isOwing).toBe(false);
  });

  test('says what a failed try was refused with, and when the next is', async () => {
    const { get, post, chats, actor } = await startWithDead();
    const out = (await outbox(get)).deliveries[1]?.out ?? '';
    chats.end = {
      outcome: 'failed',
      error: { code: 'rate_limited', message: 'Too many requests.' },
      retryAfterMs: 60_000,
    };
    await post(`/admin/outbox/${out}/retry`);
    await until(
      () => actor.outbox.owed[0]?.retry_at !== undefined && actor.outbox.owed[0].attempt > 2,
    );
    expect((await outbox(get)).deliveries[0]).toMatchObject({
      out,
      state: 'owed',
      code: 'rate_limited',
      message: 'Too many requests.',
      retry_at: expect.any(String) as string,
    });
  });

  test('knows no delivery by what is no id', async () => {
    const { post } = await start();
    for (const out of ['x', 'out_', `out_${'0'.repeat(26)}`]) {
      expect((await post(`/admin/outbox/${out}/drop`)).status).toBe(404);
    }
  });
});

describe('access', () => {
  const request = {
    code: 'ABCDEFGH',
    agent: 'helper',
    sender: 'telegram:5',
    name: 'Ann',
    chat: { gateway: 'telegram', chat_id: '5' },
    expires_at: '2027-01-01T00:00:00.000Z',
  };
  const pairing = {
    agent: 'helper',
    sender: 'telegram:6',
    name: 'Bob',
    at: '2026-01-01T00:00:00.000Z',
    by: 'cli',
  };
  const book = () =>
    Promise.resolve({
      pairings: [pairing],
      requests: [request, { ...request, code: 'OLDOLDOL', expires_at: '2020-01-01T00:00:00Z' }],
    });

  function withPairing(pairings: Partial<Gateways['pairing']>, welcomed: object[] = []) {
    return start((deps) => ({
      gateways: {
        ...deps.gateways,
        welcome: (to) => void welcomed.push(to),
        pairing: { ...deps.gateways.pairing, book, ...pairings },
      },
    }));
  }

  test('is listed: who was let in, and whose code is still good', async () => {
    const { get } = await withPairing({});
    const { chat: _, ...asks } = request;
    const { json } = await get('/admin/access');
    expect(json).toEqual({ pairings: [pairing], requests: [asks] });
    expect(accessListSchema.safeParse(json).success).toBe(true);
  });

  test('is given by a code, and the stranger is told', async () => {
    const asked: unknown[] = [];
    const welcomed: object[] = [];
    const { post } = await withPairing(
      {
        approve: (code, options) => {
          asked.push([code, options]);
          return Promise.resolve(code === request.code ? { pairing, request } : null);
        },
      },
      welcomed,
    );
    const reply = await post('/admin/access/approve/ABCDEFGH');
    expect(reply).toMatchObject({ status: 200, json: pairing });
    expect(asked).toEqual([['ABCDEFGH', { agent: null, by: 'cli' }]]);
    expect(welcomed).toEqual([request.chat]);
    expect((await post('/admin/access/approve/WRONG')).status).toBe(404);
    expect(welcomed).toHaveLength(1);
  });

  test('is taken again; an open request counts too', async () => {
    const revoked: object[] = [];
    const { del } = await withPairing({
      revoke: (who) => {
        revoked.push(who);
        return Promise.resolve(who.sender === pairing.sender);
      },
    });
    expect((await del('/admin/access/helper/telegram%3A6')).status).toBe(204);
    expect((await del('/admin/access/helper/telegram:5')).status).toBe(204);
    expect((await del('/admin/access/helper/telegram:7')).status).toBe(404);
    expect(revoked).toEqual(
      ['telegram:6', 'telegram:5', 'telegram:7'].map((sender) => ({ agent: 'helper', sender })),
    );
  });
});

describe('reload', () => {
  test('answers what changed', async () => {
    const report: ReloadReport = {
      applied: ['routes'],
      restart_needed: ['server.port'],
      gateways: { started: ['a'], stopped: [], restarted: [] },
      warnings: [],
    };
    const { post } = await start(() => ({ reload: () => Promise.resolve(report) }));
    const { status, json } = await post('/admin/reload');
    expect({ status, json }).toEqual({ status: 200, json: report });
    expect(reloadReportSchema.safeParse(json).success).toBe(true);
  });

  test('of a broken file is 409 with every fault, and the server stays ready and says why', async () => {
    const faults = [{ file: 'duragent.yaml', line: 3, column: 1, message: 'unknown key' }];
    const broken = new DuragentError('config_invalid', 'duragent.yaml:3:1: unknown key', {
      details: { faults },
    });
    const { server, post } = await start(() => ({
      reload: () => Promise.reject(broken),
      ready: () => ({ ready: true, reason: broken.message }),
    }));
    expect(await post('/admin/reload')).toMatchObject({
      status: 409,
      json: { code: 'config_invalid', detail: 'duragent.yaml:3:1: unknown key', faults },
    });
    const ready = await call(server.port, '/readyz', { token: null });
    expect(ready).toMatchObject({
      status: 200,
      json: { status: 'ready', reason: 'duragent.yaml:3:1: unknown key' },
    });
  });
});
