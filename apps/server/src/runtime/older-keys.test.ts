import { expect, test } from 'vitest';
import { KEY_TTL_MS, MAX_KEYS } from '../core/session/state.ts';
import type { SessionActor } from './session-actor.ts';
import { say, TestRuntime, until } from './testing.ts';

/** Says something that nothing answers. */
function mention(actor: SessionActor, key: string) {
  return actor.receive({
    content: [{ type: 'text', text: key }],
    handling: 'passive',
    source: { kind: 'http' },
    idempotencyKey: key,
  });
}

async function mentionMany(actor: SessionActor, from: number, to: number) {
  const taken = [];
  for (let n = from; n < to; n += 1) taken.push(await mention(actor, `${n}`));
  return taken;
}

test('a key is known for a day, however many came behind it, also after a restart', async () => {
  const runtime = new TestRuntime();
  const { session } = await runtime.create();
  let actor = await runtime.sessions.open(session);
  const taken = await mentionMany(actor, 0, 3 * MAX_KEYS);
  const { lastSeq } = actor;
  expect(await mentionMany(actor, 0, 3 * MAX_KEYS)).toEqual(taken);
  await runtime.restart();
  actor = await runtime.sessions.open(session);
  expect(await mentionMany(actor, 0, 3 * MAX_KEYS)).toEqual(taken);
  expect(actor.lastSeq).toBe(lastSeq);
  // Those that come once the log was looked into are forgotten by the state, too.
  const more = await mentionMany(actor, 3 * MAX_KEYS, 5 * MAX_KEYS);
  expect(await mentionMany(actor, 0, 5 * MAX_KEYS)).toEqual([...taken, ...more]);
  runtime.clock.suspend(KEY_TTL_MS);
  expect(await mention(actor, '0')).toMatchObject({ seq: lastSeq + 2 * MAX_KEYS + 1 });
});

test('what is sent twice at once is taken once, though the log has to be looked into', async () => {
  const runtime = new TestRuntime();
  const { session } = await runtime.create();
  await mentionMany(await runtime.sessions.open(session), 0, MAX_KEYS);
  await runtime.restart();
  const actor = await runtime.sessions.open(session);
  const seqs = await Promise.all(
    ['new', '0', 'new', '0', 'new'].map(async (key) => (await mention(actor, key)).seq),
  );
  expect(new Set(seqs).size).toBe(2);
  expect(actor.lastSeq).toBe(Math.max(...seqs));
});

test('a repeat names the turn that answered, or that the message was taken into', async () => {
  const runtime = new TestRuntime();
  const actor = await runtime.create();
  const first = await say(actor, 'one', 'first');
  const call = await runtime.model.call(1);
  const steered = await say(actor, 'two', 'steered');
  call.done('One.');
  (await runtime.model.call(2)).done('Two.');
  await until(() => !actor.hasTurn);
  await mentionMany(actor, 0, MAX_KEYS);
  const [begun, into] = [await say(actor, 'one', 'first'), await say(actor, 'two', 'steered')];
  expect([begun, into]).toEqual([first, steered]);
  expect(begun.turn).toMatch(/^turn_/);
  expect(into.turn).toBe(begun.turn);
});
