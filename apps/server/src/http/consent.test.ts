import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApprovalDecision, ApprovalView, QuestionView } from '@duragent/protocol';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import { noChats } from '../runtime/testing.ts';
import { ConsentDesk } from '../runtime/consent-desk.ts';
import { EffectRunner } from '../runtime/effects.ts';
import { SessionRegistry } from '../runtime/session-registry.ts';
import { askUserTool } from '../runtime/tools/ask-user.ts';
import {
  noBudgets,
  noOutputs,
  noSurroundings,
  testCalls,
  testTool,
} from '../runtime/tools/testing.ts';
import { call, FILE_TOKEN, type Reply, until } from './testing-client.ts';
import {
  ADMIN_TOKEN,
  answer,
  API_TOKEN,
  done,
  startTestServer,
  testAgent,
  TestClock,
  TestModel,
  type TestServer,
} from './testing.ts';

const TIMEOUT_MS = 600_000;

let server: TestServer;
const clock = new TestClock();
/** Calls that ran. */
const ran: string[] = [];
/** Rules that were added. */
const rules: string[] = [];
/** What cannot be added. */
let ruleFault: Error | null = null;
let sessions: SessionRegistry;

/** Its model calls the tool that a message names, and answers what a tool said. */
const model = new TestModel();
model.reply = ({ messages }) => {
  const last = messages.at(-1);
  if (last?.role !== 'user') return answer(['Done.']);
  const [name = '', args = '{}'] = last.text.split(/ (.*)/s);
  const asked = [{ provider_call_id: 'one', name, arguments: JSON.parse(args) as unknown }];
  return (async function* () {
    yield done('', asked);
  })();
};

beforeAll(async () => {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  const store = memorySessionStore();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const act = testTool({
    name: 'act',
    run: (args) => {
      ran.push(String(args['what']));
      return Promise.resolve({ outcome: 'ok', content: 'It is done.' });
    },
  });
  sessions = new SessionRegistry({
    clock,
    epoch: 1,
    agents,
    store,
    log,
    outputs: noOutputs,
    defaultAgent: () => 'helper',
    settings: {
      onDisconnect: 'continue',
      maxBackgroundMs: 30 * 60_000,
      outputBufferSize: 1000,
      modelRetries: 1,
      approvalTimeoutMs: TIMEOUT_MS,
      delivery: { onUncertain: 'resend_marked', mirror: true, ttlMs: 1000 },
    },
    runner: new EffectRunner({
      models: model,
      budgets: noBudgets,
      calls: testCalls([act, askUserTool], (_, { kind, ...about }) =>
        Promise.resolve({
          decision: 'name' in about && about.name === 'ask_user' ? 'allow' : 'ask',
          reason: `no rule allows this ${kind}`,
          notify: false,
          always: JSON.stringify(about).includes('for ever') ? 'builtin:act' : null,
        }),
      ),
      surroundings: noSurroundings,
      clock,
      timezone: 'UTC',
      maxConcurrent: 16,
      chats: noChats,
    }),
  });
  await sessions.start();
  const allowAlways = (_: unknown, rule: string): Promise<void> => {
    if (ruleFault) return Promise.reject(ruleFault);
    rules.push(rule);
    return Promise.resolve();
  };
  const consent = new ConsentDesk({ sessions, agents, log, allowAlways });
  server = await startTestServer({ store, agents }, () => ({ sessions, consent, clock }));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  let isClosed = false;
  const closing = sessions.close().finally(() => (isClosed = true));
  while (!isClosed) {
    clock.advance(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await closing;
});

const api = (path: string, options: Parameters<typeof call>[2] = {}): Promise<Reply> =>
  call(server.port, `/api/v1${path}`, options);

async function say(content: string): Promise<string> {
  const session = String((await api('/sessions', { body: {} })).json['session']);
  await api(`/sessions/${session}/messages`, { body: { content } });
  return session;
}

async function opened<T extends { session: string }>(
  kind: 'approvals' | 'questions',
  session: string,
): Promise<T> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const list = (await api(`/${kind}`)).json[kind] as T[];
    const found = list.find((one) => one.session === session);
    if (found) return found;
  }
  throw new Error(`${session} asks nothing`);
}

async function openApproval(what: string): Promise<ApprovalView> {
  return await opened('approvals', await say(`act ${JSON.stringify({ what })}`));
}

async function openQuestion(more: object = {}): Promise<QuestionView> {
  const asked = { question: 'Which?', ...more };
  return await opened('questions', await say(`ask_user ${JSON.stringify(asked)}`));
}

type Asked = Pick<ApprovalView, 'session' | 'approval'>;

function decide(
  { session, approval }: Asked,
  decision: unknown,
  token: string | null = FILE_TOKEN,
): Promise<Reply> {
  return api(`/sessions/${session}/approvals/${approval}`, { body: { decision }, token });
}

async function idle(session: string): Promise<void> {
  let isIdle = false;
  await until(() => {
    void api(`/sessions/${session}`).then(({ json }) => (isIdle ||= json['turn_state'] === 'idle'));
    return isIdle;
  });
}

const NOBODY = '0'.repeat(26);

/** What an approval may have become by the time somebody decides, and what a caller who may decide is told. */
const states: Record<string, { at: () => Promise<Asked>; status: number; code: string }> = {
  decided: {
    at: async () => {
      const open = await openApproval('decided');
      expect((await decide(open, 'deny')).status).toBe(200);
      return open;
    },
    status: 409,
    code: 'conflict',
  },
  'decided long ago': {
    at: async () => {
      const open = await openApproval('long ago');
      expect((await decide(open, 'deny')).status).toBe(200);
      await idle(open.session);
      const actor = await sessions.open(open.session);
      for (let i = 0; i < 2100; i += 1) {
        const content = [{ type: 'text' as const, text: `${i}` }];
        await actor.receive({ content, handling: 'silent', source: { kind: 'http' } });
      }
      return open;
    },
    status: 409,
    code: 'conflict',
  },
  expired: {
    at: async () => {
      const open = await openApproval('expired');
      clock.advance(TIMEOUT_MS + 1);
      await idle(open.session);
      return open;
    },
    status: 409,
    code: 'conflict',
  },
  cancelled: {
    at: async () => {
      const open = await openApproval('cancelled');
      await api(`/sessions/${open.session}/cancel`, { method: 'POST' });
      await idle(open.session);
      return open;
    },
    status: 409,
    code: 'conflict',
  },
  'of a session that has ended': {
    at: async () => {
      const open = await openApproval('ended');
      await api(`/sessions/${open.session}`, { method: 'DELETE' });
      return open;
    },
    status: 409,
    code: 'conflict',
  },
  'of another session': {
    at: async () => {
      const [one, two] = [await openApproval('one'), await openApproval('two')];
      return { session: one.session, approval: two.approval };
    },
    status: 404,
    code: 'not_found',
  },
  unknown: {
    at: async () => ({
      session: (await openApproval('unknown')).session,
      approval: `appr_${NOBODY}`,
    }),
    status: 404,
    code: 'not_found',
  },
  'no id': {
    at: async () => ({ session: (await openApproval('odd')).session, approval: 'appr_%2e%2e' }),
    status: 404,
    code: 'not_found',
  },
  'of no session': {
    at: async () => ({
      session: `session_${NOBODY}`,
      approval: (await openApproval('lost')).approval,
    }),
    status: 404,
    code: 'session_not_found',
  },
};

const strangers = { nobody: null, api: API_TOKEN, admin: ADMIN_TOKEN };
const decisions: ApprovalDecision[] = ['allow_once', 'allow_always', 'deny'];

describe('an approval', () => {
  describe.each(Object.entries(states))('that is %s', (_, { at, status, code }) => {
    let asked: Asked;
    beforeAll(async () => {
      asked = await at();
    });

    for (const decision of decisions) {
      test.each(Object.entries(strangers))(
        `is not decided by the token of %s: ${decision}`,
        async (name, token) => {
          const reply = await decide(asked, decision, token);
          expect(reply.status).toBe(name === 'nobody' ? 401 : 403);
          // Nothing of what is there is told to who may not decide.
          expect(reply.text).not.toContain(asked.approval);
        },
      );

      test(`is not decided by the owner either: ${decision}`, async () => {
        const before = [...ran];
        const reply = await decide(asked, decision);
        expect([reply.status, reply.json['code']]).toEqual([status, code]);
        expect(ran).toEqual(before);
      });
    }
  });

  for (const decision of decisions) {
    test.each(Object.entries(strangers))(
      `that is open stays so whatever the token of %s says: ${decision}`,
      async (name, token) => {
        const open = await openApproval(`${name} for ever`);
        const reply = await decide(open, decision, token);
        expect(reply.status).toBe(name === 'nobody' ? 401 : 403);
        expect(await opened('approvals', open.session)).toEqual(open);
        expect(ran).not.toContain(`${name} for ever`);
      },
    );

    test(`that is open is decided by the owner's token, once: ${decision}`, async () => {
      const what = `${decision} for ever`;
      const open = await openApproval(what);
      expect(open).toMatchObject({
        tool: 'act',
        shown: `act ${JSON.stringify({ what })}`,
        requested_at: expect.stringMatching(/Z$/) as unknown,
      });
      const before = rules.length;
      const reply = await decide(open, decision);
      expect(reply).toMatchObject({ status: 200, json: { approval: open.approval, decision } });
      for (const second of decisions) expect((await decide(open, second)).status).toBe(409);
      await idle(open.session);
      const times = ran.filter((one) => one === what).length;
      expect(times).toBe(decision === 'deny' ? 0 : 1);
      expect(rules.slice(before)).toEqual(decision === 'allow_always' ? ['builtin:act'] : []);
    });
  }

  test.each([
    ['no decision', {}],
    ['an unknown decision', { decision: 'allow' }],
    ['what only time decides', { decision: 'expire' }],
    ['no text', { decision: ['allow_once'] }],
    ['a further field', { decision: 'allow_once', by: 'telegram:1' }],
    ['no object', ['allow_once']],
  ])('is 400 with %s, and stays open', async (_, body) => {
    const open = await openApproval('odd body');
    const path = `/sessions/${open.session}/approvals/${open.approval}`;
    expect((await api(path, { body })).status).toBe(400);
    expect(await opened('approvals', open.session)).toEqual(open);
  });

  test('that no rule would hold is not allowed for ever, and stays open', async () => {
    const open = await openApproval('only once');
    expect(open.always).toBeNull();
    expect((await decide(open, 'allow_always')).status).toBe(409);
    expect(await opened('approvals', open.session)).toEqual(open);
    expect((await decide(open, 'allow_once')).status).toBe(200);
  });

  test('counts also where its rule cannot be kept, which is said', async () => {
    ruleFault = new Error('the disk is full');
    const open = await openApproval('without a rule for ever');
    const reply = await decide(open, 'allow_always');
    ruleFault = null;
    expect(reply.status).toBe(409);
    expect(reply.text).toContain('Allowed once');
    expect(reply.text).not.toContain('the disk is full');
    await idle(open.session);
    expect(ran).toContain('without a rule for ever');
    expect((await decide(open, 'allow_once')).status).toBe(409);
  });

  test('that is decided by fifty callers at once is decided once', async () => {
    const open = await openApproval('crowd');
    const crowd = Array.from({ length: 50 }, (_, i) => decide(open, decisions[i % 2 ? 2 : 0]));
    const statuses = (await Promise.all(crowd)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(49);
    await idle(open.session);
    expect(ran.filter((one) => one === 'crowd').length).toBeLessThanOrEqual(1);
  });
});

describe('a question', () => {
  const answerTo = (
    { session, question }: Pick<QuestionView, 'session' | 'question'>,
    text: unknown,
    token: string | null = FILE_TOKEN,
  ): Promise<Reply> =>
    api(`/sessions/${session}/questions/${question}`, { body: { answer: text }, token });

  test.each([
    ['a choice', { choices: ['red', 'blue'] }, 'blue', 'blue'],
    ['the number of a choice', { choices: ['red', 'blue'] }, '1', 'red'],
    ['a choice that is a number', { choices: ['2', '1'] }, '1', '1'],
    ['any text', {}, ' 2 ', ' 2 '],
  ])('is answered by %s, once', async (_, more, said, answered) => {
    const open = await openQuestion(more);
    const reply = await answerTo(open, said);
    expect(reply.json).toEqual({ question: open.question, answer: answered });
    expect((await answerTo(open, said)).status).toBe(409);
    await idle(open.session);
    expect((await answerTo(open, said)).status).toBe(409);
  });

  test.each(['green', '0', '3', '-1', '1.5', 'NaN', 'length', '1e0x', ' '])(
    'with choices is not answered by %j',
    async (said) => {
      const open = await openQuestion({ choices: ['red', 'blue'] });
      const reply = await answerTo(open, said);
      expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
      expect(await opened('questions', open.session)).toEqual(open);
    },
  );

  test.each([
    ['nobody', 401, null],
    ['admin', 403, ADMIN_TOKEN],
    ['api', 200, API_TOKEN],
  ])('answers the token of %s with %i', async (_, status, token) => {
    const open = await openQuestion();
    expect((await answerTo(open, 'yes', token)).status).toBe(status);
  });

  test.each([
    ['nothing', ''],
    ['what is no text', 7],
    ['what is too long', 'x'.repeat(32_001)],
  ])('is not answered by %s', async (_, said) => {
    expect((await answerTo(await openQuestion(), said)).status).toBe(400);
  });

  test('of another session, or that nobody asked, is not found', async () => {
    const [one, two] = [await openQuestion(), await openQuestion()];
    const { session } = one;
    expect((await answerTo({ session, question: two.question }, 'x')).status).toBe(404);
    expect((await answerTo({ session, question: `q_${NOBODY}` }, 'x')).status).toBe(404);
    expect((await answerTo({ session, question: 'q_1' }, 'x')).status).toBe(404);
  });

  test('is no approval, and an approval no question', async () => {
    const [asked, open] = [await openQuestion(), await openApproval('mixed')];
    const { session } = asked;
    const path = `/sessions/${session}/approvals/${asked.question}`;
    expect((await api(path, { body: { decision: 'allow_once' } })).status).toBe(404);
    const other = `/sessions/${open.session}/questions/${open.approval}`;
    expect((await api(other, { body: { answer: 'yes' } })).status).toBe(404);
  });
});

describe('what waits', () => {
  test.each(['approvals', 'questions'])('is listed to who may read: %s', async (kind) => {
    const statuses = [null, ADMIN_TOKEN, API_TOKEN, FILE_TOKEN].map(async (token) => {
      return (await api(`/${kind}`, { token })).status;
    });
    expect(await Promise.all(statuses)).toEqual([401, 403, 200, 200]);
  });
});
