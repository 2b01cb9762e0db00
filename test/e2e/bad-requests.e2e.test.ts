import type { Problem } from '@duragent/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Api, Call } from '../support/api.ts';
import { Workspace } from '../support/duragent.ts';
import { readLog, settledFaults } from '../support/session-log.ts';

const apiToken = 'an-api-token-of-this-test';

let workspace: Workspace;
let api: Api;
let session: string;
let lines: string[];
beforeAll(async () => {
  workspace = await Workspace.create({ echo: 'model: echo', other: 'model: echo' });
  workspace.env['DURAGENT_API_TOKEN'] = apiToken;
  ({ api } = await workspace.serve());
  ({ session } = await api.createSession({ agent: 'echo' }));
  await api.ask(session, 'hello');
  ({ lines } = await readLog(workspace.sessionDir(session)));
});
afterAll(async () => {
  await workspace.close();
});

interface Refusal {
  what: string;
  method?: string;
  /** `{id}` is the session. */
  path?: string;
  call?: Call;
  expected: Partial<Problem>;
}

const messages = '/api/v1/sessions/{id}/messages';
const refusals: Refusal[] = [
  {
    what: 'an unknown agent is told the known ones',
    method: 'POST',
    path: '/api/v1/sessions',
    call: { body: { agent: 'nobody' } },
    expected: {
      status: 404,
      code: 'agent_not_found',
      detail: expect.stringContaining('echo, other'),
    },
  },
  { what: 'no token', call: { token: null }, expected: { status: 401, code: 'unauthorized' } },
  { what: 'a wrong token', call: { token: 'x'.repeat(43) }, expected: { status: 401 } },
  {
    what: 'a token in the URL',
    path: '/api/v1/sessions?token=x',
    call: { token: null },
    expected: { status: 401 },
  },
  {
    what: 'a token without the scope',
    method: 'DELETE',
    path: '/api/v1/sessions/{id}',
    call: { token: apiToken },
    expected: { status: 403, code: 'forbidden' },
  },
  {
    what: 'a foreign Host',
    call: { headers: { Host: 'evil.example' } },
    expected: { status: 421, code: 'misdirected_request' },
  },
  {
    what: 'a foreign Host of a public route',
    path: '/readyz',
    call: { headers: { Host: 'rebound.example:8080' } },
    expected: { status: 421 },
  },
  {
    what: 'a foreign Origin',
    method: 'POST',
    path: messages,
    call: { body: { content: 'x' }, headers: { Origin: 'https://evil.example' } },
    expected: { status: 403 },
  },
  {
    what: 'a body of 2 MB',
    method: 'POST',
    path: messages,
    call: { body: { content: 'x'.repeat(2_000_000) } },
    expected: { status: 413, code: 'payload_too_large' },
  },
  {
    what: 'bad JSON, with its place',
    method: 'POST',
    path: messages,
    call: { body: '{"content": "x",}' },
    expected: { status: 400, code: 'invalid_request', detail: expect.stringMatching(/1|17/) },
  },
  {
    what: 'no UTF-8',
    method: 'POST',
    path: messages,
    call: { body: Buffer.from([0x22, 0xff, 0xfe, 0x22]) },
    expected: { status: 400 },
  },
  {
    what: 'a body of the wrong shape, with a pointer to each fault',
    method: 'POST',
    path: messages,
    call: { body: { content: 5, wait: 'yes' } },
    expected: {
      status: 400,
      errors: expect.arrayContaining([
        expect.objectContaining({ pointer: '/content' }),
        expect.objectContaining({ pointer: '/wait' }),
      ]) as Problem['errors'],
    },
  },
  {
    what: 'an unknown member',
    method: 'POST',
    path: messages,
    call: { body: { content: 'x', contents: 'y' } },
    expected: { status: 400, detail: expect.stringContaining('contents') },
  },
  {
    what: 'a body that is not JSON',
    method: 'POST',
    path: messages,
    call: { body: 'content=x', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
    expected: { status: 415, code: 'unsupported_media_type' },
  },
  {
    what: 'an Idempotency-Key with a space',
    method: 'POST',
    path: messages,
    call: { body: { content: 'x' }, headers: { 'Idempotency-Key': 'a b' } },
    expected: { status: 400 },
  },
  { what: 'a limit of nonsense', path: `${messages}?limit=-1`, expected: { status: 400 } },
  { what: 'an unknown route', path: '/api/v1/nothing', expected: { status: 404 } },
  {
    what: 'an unknown method',
    method: 'PUT',
    path: messages,
    expected: { status: 405, code: 'method_not_allowed' },
  },
  {
    what: 'an unknown session',
    path: `/api/v1/sessions/session_${'0'.repeat(26)}`,
    expected: { status: 404, code: 'session_not_found' },
  },
  ...[
    '../EPOCH',
    '..%2f..%2fauth%2ftoken',
    '%2e%2e%2f%2e%2e%2fEPOCH',
    'session_../../auth/token',
    '....//EPOCH',
    '%00',
  ].map((id) => ({
    what: `the id ${id}`,
    path: `/api/v1/sessions/${id}`,
    expected: { status: 404 },
  })),
  { what: 'a broken escape', path: '/api/v1/sessions/%zz', expected: { status: 400 } },
];

describe('a request that is refused says why, and changes nothing', () => {
  test.each(refusals)('$what', async ({ method = 'GET', path, call, expected }) => {
    const target = (path ?? '/api/v1/sessions').replace('{id}', session);
    const problem = await api.refused(method, target, call);
    expect(problem).toMatchObject(expected);
    expect(problem.detail).not.toBe('');
    expect(JSON.stringify(problem)).not.toContain(workspace.dir);
    expect((await readLog(workspace.sessionDir(session))).lines).toEqual(lines);
  });

  test('and the server goes on', async () => {
    expect(await api.ask(session, 'still there?')).toMatchObject({ outcome: 'completed' });
    const { events } = await readLog(workspace.sessionDir(session));
    expect(settledFaults(events)).toEqual([]);
  });
});

test('many failed authentications are slowed down, and a right token never is', async () => {
  const statuses = new Set<number>();
  for (let tried = 0; tried < 15; tried += 1) {
    statuses.add((await api.call('GET', '/api/v1/sessions', { token: `wrong-${tried}` })).status);
  }
  expect(statuses).toContain(429);
  expect((await api.get('/sessions')).status).toBe(200);
});
