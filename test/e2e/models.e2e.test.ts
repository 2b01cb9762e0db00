import type { Answer } from '@duragent/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Api } from '../support/api.ts';
import { Workspace } from '../support/duragent.ts';
import { wordyAnswer } from '../support/model-agent.ts';
import {
  Gate,
  startModelServer,
  type Behaviour,
  type ModelServer,
} from '../support/model-server.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

const good = wordyAnswer('good', 5);
const refusal: Behaviour = { type: 'status', status: 401, message: 'who are you' };
const broken: Behaviour = { type: 'status', status: 500, message: 'out of order' };

/** What the agent's model does at each call, and what its fallback does. */
interface Case {
  what: string;
  model: Behaviour[];
  spare?: Behaviour[];
  /** Codes of `model_call_failed`, in order. */
  failures: string[];
  answeredBy: 'local' | 'spare' | null;
  /** The least wait before the second call. */
  waitsMs?: number;
  /** In the error of the turn. */
  says?: string;
}

// `models.retry.attempts: 1` in the configuration: one repetition after about a second.
const cases: Case[] = [
  { what: 'all is well', model: [good], failures: [], answeredBy: 'local' },
  {
    what: 'a failure that passes',
    model: [broken, good],
    failures: ['model_unavailable'],
    answeredBy: 'local',
  },
  {
    what: 'too many requests, and when to come again',
    model: [{ type: 'status', status: 429, headers: { 'retry-after-ms': '1500' } }, good],
    failures: ['model_rate_limited'],
    answeredBy: 'local',
    waitsMs: 1500,
  },
  {
    what: 'an answer that is cut',
    model: [{ ...good, cutAfter: 3 }, good],
    failures: ['model_unavailable'],
    answeredBy: 'local',
  },
  ...(['html', 'empty', 'bad-json', 'wrong-shape', 'binary', 'no-finish'] as const).map((kind) => ({
    what: `nonsense (${kind})`,
    model: [{ type: 'nonsense' as const, kind }, good],
    failures: ['model_bad_answer'],
    answeredBy: 'local' as const,
  })),
  {
    what: 'an error inside of the stream',
    model: [{ type: 'nonsense', kind: 'error-event' }, good],
    failures: ['model_overloaded'],
    answeredBy: 'local',
  },
  {
    what: 'a connection that is dropped',
    model: [{ type: 'nonsense', kind: 'hang-up' }, good],
    failures: ['model_unavailable'],
    answeredBy: 'local',
  },
  {
    what: 'a refusal, which no repetition mends: the fallback at once',
    model: [refusal],
    spare: [good],
    failures: ['model_unauthorized'],
    answeredBy: 'spare',
  },
  {
    what: 'failures without end: the fallback after the repetitions',
    model: [broken, broken],
    spare: [good],
    failures: ['model_unavailable', 'model_unavailable'],
    answeredBy: 'spare',
  },
  {
    what: 'nobody who answers: the turn fails, and says why',
    model: [broken, broken],
    spare: [refusal],
    failures: ['model_unavailable', 'model_unavailable', 'model_unauthorized'],
    answeredBy: null,
    says: 'who are you',
  },
];

let model: ModelServer;
let workspace: Workspace;
let api: Api;
beforeAll(async () => {
  model = await startModelServer();
  const calls = new Map<string, number>();
  model.respond = (request) => {
    const number = Number(/case (\d+)/.exec(request.text)?.[1]);
    const name = request.body['model'] === 'spare' ? 'spare' : 'model';
    const call = calls.get(`${name} ${number}`) ?? 0;
    calls.set(`${name} ${number}`, call + 1);
    // A call that no case expects is answered by what no case expects.
    return cases[number]?.[name]?.[call] ?? { type: 'answer', tokens: ['one call too many'] };
  };
  const ref = (name: string): string =>
    `provider: openai-compatible, name: ${name}, base_url: "${model.url}/v1"`;
  workspace = await Workspace.create({
    wordy: `model: { ${ref('local')}, fallback: [{ ${ref('spare')} }] }`,
    alone: `model: { ${ref('local')} }`,
  });
  await workspace.configure('default_agent: wordy\nmodels: { retry: { attempts: 1 } }\n');
  ({ api } = await workspace.serve());
});
afterAll(async () => {
  await workspace.close();
  await model.close();
});

describe('a model that answers with', () => {
  for (const [number, one] of cases.entries()) {
    test.concurrent(one.what, async ({ expect: expected }) => {
      const { session } = await api.createSession();
      const stream = await api.stream(session, `case ${number}`);
      await until('the turn ends', () => stream.end !== null);
      const { events, lines } = await readLog(workspace.sessionDir(session));
      expected(settledFaults(events)).toEqual([]);
      expected(stream.lines).toEqual(lines.slice(1));

      const failed = eventsOf(events, 'model_call_failed');
      expected(failed.map((event) => event.error.code)).toEqual(one.failures);
      expected(failed.map((event) => event.attempt)).toEqual(failed.map((_, at) => at + 1));
      for (const { error } of failed) expected(error.message).toMatch(/\S+ \S+ \S+/);
      if (one.waitsMs !== undefined) {
        const [first] = failed;
        const waits = Date.parse(first?.retry?.at ?? '') - Date.parse(first?.at ?? '');
        expected(waits).toBeGreaterThanOrEqual(one.waitsMs);
      }
      const answers = eventsOf(events, 'assistant_message');
      const [end] = eventsOf(events, 'turn_finished');
      if (one.answeredBy === null) {
        expected(answers).toEqual([]);
        expected(end).toMatchObject({ outcome: 'failed' });
        expected(end?.error?.message).toContain(one.says);
        expected(stream.frames.at(-1)?.event).toBe('error');
        expected(stream.of('error')[0]?.['detail']).toContain(one.says);
      } else {
        expected(end).toMatchObject({ outcome: 'completed' });
        expected(answers.map(textOf)).toEqual([good.text]);
        expected(answers[0]?.model).toBe(`openai-compatible/${one.answeredBy}`);
        const { turn, attempt } = answers[0]!;
        expected(attempt).toBe(failed.length + 1);
        expected(stream.text(turn, attempt)).toBe(good.text);
      }
      // The session goes on, and the model is told nothing of what failed.
      const calls = model.requests.filter((request) => request.text.includes(`case ${number}"`));
      const told = new Set(calls.map((request) => JSON.stringify(request.body['messages'])));
      expected(told.size).toBe(1);
    });
  }
});

test('a model that says nothing holds the turn, and cancel ends it within a second', async () => {
  const { session } = await api.createSession({ agent: 'alone' });
  for (const behaviour of [
    { type: 'stall' },
    { type: 'stall', headers: false },
    { ...good, gate: new Gate(), holdAfter: 2 },
  ] satisfies Behaviour[]) {
    model.enqueue(behaviour);
    const { started } = model;
    await api.say(session, 'hello?');
    await until('the model is called', () => model.started > started);
    const begun = performance.now();
    await api.post(`/sessions/${session}/cancel`);
    await until('the model is let go', () => model.requests.at(-1)?.closedEarly);
    await until('rest', async () => (await api.session(session)).turn_state === 'idle');
    expect(performance.now() - begun).toBeLessThan(1_000);
  }
  model.enqueue(good);
  const answer: Answer = await api.ask(session, 'and now?');
  expect(answer).toMatchObject({ outcome: 'completed', text: good.text });
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  const outcomes = eventsOf(events, 'turn_finished').map((event) => event.outcome);
  expect(outcomes).toEqual(['cancelled', 'cancelled', 'cancelled', 'completed']);
});
