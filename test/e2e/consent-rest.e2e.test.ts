import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Answer } from '@duragent/protocol';
import type { Api, Reply } from '../support/api.ts';
import {
  answer,
  approvalIn,
  approvalsOf,
  asking,
  bash,
  decide,
  idle,
  questionIn,
  questionsOf,
  toolAgent,
} from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readAllLogs, readLog, settledFaults, textOf } from '../support/session-log.ts';
import type { SseStream } from '../support/sse-stream.ts';
import { Stories } from '../support/stories.ts';
import { until } from '../support/until.ts';

let workspace: Workspace;
let server: Server;
/** Where the server is now: it comes back elsewhere. */
const api = (): Api => server.api;

/** A file that a command of a story makes, beside those of the others. */
function mark(name: string): { command: string; lines: () => number } {
  const file = path.join(workspace.dir, name);
  return {
    command: `echo done >> ${name}`,
    lines: () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0),
  };
}

async function eventsIn(session: string) {
  return (await readLog(workspace.sessionDir(session))).events;
}

async function lastText(session: string): Promise<string> {
  const said = eventsOf(await eventsIn(session), 'assistant_message').at(-1);
  return said ? textOf(said) : '';
}

function askAndWait(session: string, content: string): Promise<Reply<Answer>> {
  return api().post<Answer>(`/sessions/${session}/messages`, { content, wait: true });
}

/** The simple frames of a stream, without tokens. */
function simpleFrames(stream: SseStream): string[] {
  const simple = new Set(
    'start tool_call approval_required question tool_result done cancelled error'.split(' '),
  );
  return stream.frames.map(({ event }) => event).filter((event) => simple.has(event));
}

const stories = new Stories<'server'>({
  'a stream shows what waits, and goes on when somebody spoke': async function* () {
    const { session } = await api().createSession();
    const did = mark('streamed');
    const stream = await api().stream(session, bash(did.command));
    await stream.until('it asks', () => stream.of('approval_required').length > 0);
    const open = await approvalIn(api(), session);
    expect(stream.of('approval_required')).toEqual([
      {
        turn: open.turn,
        call: open.call,
        approval: open.approval,
        tool: 'bash',
        shown: did.command,
        command: open.command,
        reason: open.reason,
        expires_at: open.expires_at,
      },
    ]);
    expect(open.command).toEqual({
      argv: ['bash', '--noprofile', '--norc', '-c', did.command],
      cwd: workspace.dir,
      env: {},
    });
    expect(await api().session(session)).toMatchObject({ turn_state: 'waiting_approval' });
    expect((await decide(api(), open, 'allow_once')).status).toBe(200);
    await stream.until('it is done', () => stream.of('done').length > 0);
    const shown = ['start', 'tool_call', 'approval_required', 'tool_result', 'done'];
    expect(simpleFrames(stream)).toEqual(shown);
    expect(did.lines()).toBe(1);

    const asked = await api().stream(session, asking('Which?', { choices: ['red', 'blue'] }));
    await asked.until('it asks', () => asked.of('question').length > 0);
    const question = await questionIn(api(), session);
    expect(asked.of('question')).toMatchObject([
      { question: question.question, text: 'Which?', choices: ['red', 'blue'], expires_at: null },
    ]);
    expect(await api().session(session)).toMatchObject({ turn_state: 'waiting_input' });
    yield 'server';
    expect(asked.end).toBe('cut');
    // Attached anew from the last id, as a client is that lost its server.
    const again = await api().events(session, { lastEventId: asked.lastId });
    expect(await api().session(session)).toMatchObject({ turn_state: 'waiting_input' });
    expect((await answer(api(), question, '2')).status).toBe(200);
    await again.untilFinished();
    expect(again.of('question_answered')).toMatchObject([{ answer: 'blue', by: 'http:file' }]);
    again.close();
    expect(await lastText(session)).toContain('blue');
  },

  'who waits for an answer gets it after the approval, also when that came after a restart':
    async function* () {
      const { session } = await api().createSession();
      const did = mark('waited');
      const waiting = askAndWait(session, bash(did.command));
      await decide(api(), await approvalIn(api(), session), 'allow_once');
      expect(await waiting).toMatchObject({ status: 200, body: { outcome: 'completed' } });
      expect(did.lines()).toBe(1);

      const cut = askAndWait(session, bash(did.command)).then(
        () => 'answered',
        () => 'cut',
      );
      const open = await approvalIn(api(), session);
      yield 'server';
      expect(await cut).toBe('cut');
      expect(await approvalsOf(api(), session)).toEqual([open]);
      await decide(api(), open, 'allow_once');
      await idle(api(), session);
      expect(did.lines()).toBe(2);
      const late = await decide(api(), open, 'deny');
      expect(late).toMatchObject({ status: 409, body: { code: 'conflict' } });
    },

  'a turn that waits for people can be cancelled': async function* () {
    const { session } = await api().createSession();
    const did = mark('cancelled');
    await api().say(session, bash(did.command));
    const first = await approvalIn(api(), session);
    const stream = await api().events(session);
    expect((await api().post(`/sessions/${session}/cancel`)).status).toBe(202);
    await stream.untilFinished();
    expect((await decide(api(), first, 'allow_once')).status).toBe(409);
    await api().say(session, asking('Still there?'));
    const question = await questionIn(api(), session);
    yield 'server';
    await api().post(`/sessions/${session}/cancel`);
    await idle(api(), session);
    expect((await answer(api(), question, 'yes')).status).toBe(409);
    const events = await eventsIn(session);
    expect(eventsOf(events, 'turn_finished').map(({ outcome }) => outcome)).toEqual([
      'cancelled',
      'cancelled',
    ]);
    // Every call has its one result.
    expect(eventsOf(events, 'tool_finished').map(({ outcome }) => outcome)).toEqual([
      'skipped',
      'skipped',
    ]);
    expect(eventsOf(events, 'tool_started')).toEqual([]);
    expect(did.lines()).toBe(0);
    stream.close();
    expect((await askAndWait(session, 'and now?')).body.text).toContain('and now?');
  },

  'a session can end while it waits': async function* () {
    const did = mark('ended');
    const ends = async (): Promise<void> => {
      const { session } = await api().createSession();
      await api().say(session, bash(did.command));
      const open = await approvalIn(api(), session);
      expect((await api().call('DELETE', `/api/v1/sessions/${session}`)).status).toBeLessThan(300);
      expect(await approvalsOf(api(), session)).toEqual([]);
      const late = await decide(api(), open, 'allow_once');
      expect([late.status, session]).toEqual([409, session]);
      expect(eventsOf(await eventsIn(session), 'tool_finished')).toHaveLength(1);
    };
    await ends();
    const { session } = await api().createSession();
    await api().say(session, asking('Who?'));
    const question = await questionIn(api(), session);
    yield 'server';
    await ends();
    await api().call('DELETE', `/api/v1/sessions/${session}`);
    expect(await questionsOf(api(), session)).toEqual([]);
    expect((await answer(api(), question, 'me')).status).toBe(409);
    expect(did.lines()).toBe(0);
  },

  'what is decided while the turn is paused is recorded, and acts when somebody comes back':
    async function* () {
      const { session } = await api().createSession({ on_disconnect: 'pause' });
      const did = mark('paused');
      const client = await api().events(session);
      await api().say(session, bash(did.command));
      const open = await approvalIn(api(), session);
      client.close();
      await until('the turn is paused', async () => {
        return (await api().session(session)).turn_state === 'paused';
      });
      expect(await approvalsOf(api(), session)).toEqual([open]);
      yield 'server';
      expect(await api().session(session)).toMatchObject({ turn_state: 'paused' });
      expect((await decide(api(), open, 'allow_once')).status).toBe(200);
      expect((await decide(api(), open, 'allow_once')).status).toBe(409);
      expect(await approvalsOf(api(), session)).toEqual([]);
      expect(did.lines()).toBe(0);
      const back = await api().events(session);
      await back.untilFinished();
      back.close();
      expect(did.lines()).toBe(1);
    },

  'what nobody decides in time is denied, whatever the server did meanwhile': async function* () {
    const { session } = await api().createSession();
    const did = mark('expired');
    await api().say(session, asking('Quick?', { timeout: 1, default: 'no' }));
    await idle(api(), session);
    expect(await lastText(session)).toContain('no');
    await api().say(session, asking('Quicker?', { timeout: 1 }));
    yield 'server';
    await idle(api(), session);
    const answers = eventsOf(await eventsIn(session), 'question_answered');
    expect(answers).toMatchObject([
      { answer: 'no', by: 'server' },
      { answer: null, by: 'server' },
    ]);
    expect(did.lines()).toBe(0);
  },
});

beforeAll(async () => {
  workspace = await Workspace.create({ helper: toolAgent(['bash', 'ask_user']) });
  server = await workspace.serve();
  await stories.tell(async () => {
    await server.run.kill('SIGKILL');
    server = await workspace.serve();
  });
}, 120_000);
afterAll(async () => {
  await workspace.close();
});

stories.tests();

test('all of it left whole logs, in which each call has one result', async () => {
  for (const { events, session } of await readAllLogs(workspace.dataDir)) {
    expect([session, settledFaults(events)]).toEqual([session, []]);
    const calls = eventsOf(events, 'assistant_message').flatMap((one) => one.tool_calls);
    const results = eventsOf(events, 'tool_finished').map(({ call }) => call);
    expect(results).toEqual(calls.map(({ call }) => call));
  }
});
