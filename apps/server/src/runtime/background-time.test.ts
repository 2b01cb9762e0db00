import { describe, expect, test } from 'vitest';
import { answer, Drive, say, START } from '../core/session/testing.ts';
import { BackgroundTime } from './background-time.ts';
import { Reader, say as sayTo, TestRuntime, until } from './testing.ts';
import { testTool } from './tools/testing.ts';

/** A clock whose wall can be set. */
class TwoClocks {
  wall = Date.parse('2026-01-01T00:00:00.000Z');
  ran = 0;
  timers: { ms: number; callback: () => void }[] = [];
  now = (): number => this.wall;
  monotonic = (): number => this.ran;
  after = (ms: number, callback: () => void) => {
    const timer = { ms, callback };
    this.timers.push(timer);
    return () => void (this.timers = this.timers.filter((one) => one !== timer));
  };
}

function working() {
  const drive = new Drive();
  drive.submit(START);
  drive.submit(say('1'));
  return drive.state;
}

describe('the time that a turn works with nobody attached', () => {
  test('is counted by the monotonic clock, however the wall clock jumps', () => {
    const clock = new TwoClocks();
    const time = new BackgroundTime(clock, new Drive().state, () => undefined);
    const { turn } = working();
    time.look(turn, true, 0);
    clock.ran += 1000;
    clock.wall += 24 * 60 * 60_000;
    expect(time.counted).toEqual({ turn: 'turn_1', ms: 1000 });
    time.look(turn, false, 0);
    clock.ran += 5000;
    time.look(turn, true, 0);
    clock.ran += 500;
    clock.wall = 0;
    expect(time.counted.ms).toBe(1500);
    time.look(turn && { ...turn, workingSince: null }, true, 0);
    clock.ran += 700;
    expect(time.counted.ms).toBe(1500);
    time.look(null, true, 0);
    expect(time.counted).toEqual({ turn: null, ms: 0 });
  });

  test('is told of at the limit, and once more 30 s later; never without one', () => {
    const clock = new TwoClocks();
    const told: string[] = [];
    const time = new BackgroundTime(clock, new Drive().state, (turn) => told.push(turn));
    const { turn } = working();
    time.look(turn, true, 10_000);
    clock.ran += 4000;
    time.look(turn, true, 10_000);
    expect(clock.timers.map(({ ms }) => ms)).toEqual([6000]);
    clock.ran += 6000;
    clock.timers[0]?.callback();
    time.look(turn, true, 10_000);
    expect(clock.timers.map(({ ms }) => ms)).toEqual([30_000]);
    clock.ran += 30_000;
    time.look(turn, true, 10_000);
    expect(clock.timers).toEqual([]);
    time.look(turn, true, 0);
    expect(clock.timers).toEqual([]);
    expect(told).toEqual(['turn_1']);
  });

  test('is told of again where a tool runs behind both', () => {
    const clock = new TwoClocks();
    const told: string[] = [];
    const time = new BackgroundTime(clock, new Drive().state, (turn) => told.push(turn));
    const drive = new Drive();
    drive.submit(START);
    drive.submit(say('1'));
    const call = { call: 'call_a', provider_call_id: 'a', name: 'wait', arguments: {} };
    drive.submit((state) => answer(state, { tool_calls: [call] }));
    const { turn } = drive.state;
    time.look(turn && { ...turn, unattendedMs: 50_000 }, true, 10_000);
    expect(clock.timers.map(({ ms }) => ms)).toEqual([30_000]);
    clock.timers[0]?.callback();
    expect(told).toEqual(['turn_1']);
  });
});

const done = () => Promise.resolve({ outcome: 'ok' as const, content: 'done', details: {} });
const READ = testTool({ name: 'read', run: done });
const LIMIT = { settings: { maxBackgroundMs: 60_000 } };

describe('a session whose turn works on alone', () => {
  test('is paused at its next safe point with one notice, and goes on when somebody attaches', async () => {
    const runtime = new TestRuntime({ ...LIMIT, tools: [READ] });
    const actor = await runtime.create();
    const reader = new Reader(actor, { presence: false });
    await sayTo(actor, 'work');
    const call = await runtime.model.call(1);
    await runtime.clock.advance(90_000);
    expect(actor.view()).toMatchObject({ status: 'running', turn_state: 'working' });
    call.done('', [{ name: 'read', arguments: {} }]);
    await until(() => reader.events.includes('turn_paused'));
    expect(actor.view()).toMatchObject({ status: 'paused', turn_state: 'paused' });
    await runtime.restart();
    await runtime.clock.advance(60 * 60_000);
    const again = await runtime.sessions.open(actor.session);
    expect(again.view()).toMatchObject({ status: 'paused', turn_state: 'paused' });
    const back = new Reader(again);
    (await runtime.model.call(1)).done('all of it');
    await until(() => back.events.includes('turn_finished'));
    expect(back.events.filter((type) => type === 'notice')).toHaveLength(1);
    expect(back.events.slice(-6)).toEqual([
      'turn_paused',
      'turn_resumed',
      'tool_started',
      'tool_finished',
      'assistant_message',
      'turn_finished',
    ]);
    await back.leave();
    await reader.leave();
  });

  test('is not while somebody reads it', async () => {
    const runtime = new TestRuntime({ ...LIMIT, tools: [READ] });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await sayTo(actor, 'work');
    const call = await runtime.model.call(1);
    await runtime.clock.advance(90_000);
    call.done('', [{ name: 'read', arguments: {} }]);
    (await runtime.model.call(2)).done('all of it');
    await until(() => reader.events.includes('turn_finished'));
    expect(reader.events).not.toContain('turn_paused');
    await reader.leave();
  });

  test('is not where somebody has come before its safe point', async () => {
    const runtime = new TestRuntime({ ...LIMIT, tools: [READ] });
    const actor = await runtime.create();
    await sayTo(actor, 'work');
    const call = await runtime.model.call(1);
    await runtime.clock.advance(70_000);
    const reader = new Reader(actor);
    await until(() => actor.view().clients === 1);
    call.done('', [{ name: 'read', arguments: {} }]);
    (await runtime.model.call(2)).done('all of it');
    await until(() => reader.events.includes('turn_finished'));
    expect(reader.events).not.toContain('turn_paused');
    await reader.leave();
  });

  test('counts no time in which somebody was there', async () => {
    const runtime = new TestRuntime({ ...LIMIT, tools: [READ] });
    const actor = await runtime.create();
    await sayTo(actor, 'work');
    const call = await runtime.model.call(1);
    await runtime.clock.advance(40_000);
    const reader = new Reader(actor);
    await runtime.clock.advance(40_000);
    await reader.leave();
    await runtime.clock.advance(19_000);
    const watcher = new Reader(actor, { presence: false });
    call.done('', [{ name: 'read', arguments: {} }]);
    const second = await runtime.model.call(2);
    await runtime.clock.advance(1_000);
    second.done('', [{ name: 'read', arguments: {} }]);
    await until(() => watcher.events.includes('turn_paused'));
    await watcher.leave();
  });

  test('counts on over the death of its server', async () => {
    const runtime = new TestRuntime(LIMIT);
    const actor = await runtime.create();
    await sayTo(actor, 'work');
    await runtime.model.call(1);
    await runtime.clock.advance(40_000);
    await runtime.restart();
    const again = await runtime.sessions.open(actor.session);
    await again.start();
    const call = await runtime.model.call(1);
    await runtime.clock.advance(20_000);
    call.fail({ code: 'model_unavailable', message: 'no', retryable: true });
    await until(() => again.view().turn_state === 'paused');
  });

  test('has the tool ended that runs on 30 s behind the limit', async () => {
    let isEnded = false;
    const never = testTool({
      name: 'wait',
      run: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            isEnded = true;
            reject(signal.reason as Error);
          });
        }),
    });
    const runtime = new TestRuntime({ ...LIMIT, tools: [never] });
    const actor = await runtime.create();
    const reader = new Reader(actor, { presence: false });
    await sayTo(actor, 'work');
    (await runtime.model.call(1)).done('', [{ name: 'wait', arguments: {} }]);
    await until(() => reader.events.includes('tool_started'));
    await runtime.clock.advance(89_000);
    expect(reader.events).not.toContain('tool_finished');
    await runtime.clock.advance(2_000);
    await until(() => reader.events.includes('turn_paused'));
    expect(reader.events.slice(-3)).toEqual(['tool_finished', 'notice', 'turn_paused']);
    expect(isEnded).toBe(true);
    await reader.leave();
  });
});
