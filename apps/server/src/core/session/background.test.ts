import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import { hasTurn } from './summary.ts';
import { answer, Drive, failure, result, say, START, write } from './testing.ts';

const LIMIT = 60_000;
const REACHED = { type: 'background_limit', turn: 'turn_1' } as const;
const keys = (drive: Drive): string[] => next(drive.state).map((effect) => effect.key);

/** A turn that works with nobody there, and runs these tools one after another. */
function alone(...ids: string[]): Drive {
  const drive = new Drive({ maxBackgroundMs: LIMIT });
  drive.submit(START);
  drive.attended(false);
  drive.submit(say('1'));
  drive.pass(1);
  if (ids.length > 0) drive.submit((state) => answer(state, { tool_calls: ids.map(write) }));
  return drive;
}

/** The same, paused at its limit. */
function stopped(): Drive {
  const drive = alone('a', 'b');
  drive.pass(LIMIT);
  drive.submit(result('a'));
  return drive;
}

describe('a turn that works with nobody attached', () => {
  test('stops at the next safe point behind its limit, and says so once', () => {
    const drive = alone('a', 'b');
    drive.pass(LIMIT - 2);
    expect(drive.submit(REACHED)).toEqual([]);
    drive.pass(1);
    expect(drive.submit(REACHED)).toEqual([]);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'notice', 'turn_paused']);
    expect(drive.last('turn_paused')).toMatchObject({ reason: 'background_limit' });
    expect(drive.last('notice').text).toContain('worked for 60 s with nobody attached');
    expect(drive.state.turn?.unattendedMs).toBe(LIMIT);
    expect(hasTurn(drive.state)).toBe(false);
    expect(keys(drive)).toEqual([]);
    expect(drive.submit(REACHED)).toEqual([]);
  });

  test('goes on where somebody came before its safe point, or where there is no limit', () => {
    const attended = alone('a', 'b');
    attended.pass(LIMIT);
    attended.attended(true);
    expect(attended.submit(result('a'))).toEqual(['tool_finished', 'tool_started']);
    const free = alone('a', 'b');
    free.rules = { ...free.rules, maxBackgroundMs: 0 };
    free.pass(LIMIT);
    expect(free.submit(result('a'))).toEqual(['tool_finished', 'tool_started']);
  });

  test('counts only what it worked alone, over attached times and waits for people', () => {
    const drive = alone('a', 'b');
    drive.pass(LIMIT / 2);
    drive.attended(true);
    drive.pass(LIMIT * 10);
    drive.policy = () => ({ kind: 'ask', text: 'Which?', timeoutMs: null });
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'question_asked']);
    expect(drive.last('tool_finished').unattended_ms).toBe(LIMIT / 2 + 1);
    drive.attended(false);
    drive.pass(LIMIT * 10);
    expect(drive.submit(REACHED)).toEqual([]);
    expect(drive.state.turn?.paused).toBeNull();
  });

  test('has a tool ended that still runs 30 s after the limit', () => {
    const drive = alone('a', 'b');
    drive.pass(LIMIT + 29_998);
    expect(drive.submit(REACHED)).toEqual([]);
    drive.pass(1);
    expect(drive.submit(REACHED)).toEqual(['tool_finished', 'notice', 'turn_paused']);
    expect(drive.last('tool_finished')).toMatchObject({ call: 'call_a', outcome: 'cancelled' });
    expect(keys(drive)).toEqual([]);
  });

  test('stops at once where the next try of a model call waits', () => {
    const drive = alone();
    drive.pass(LIMIT - 100);
    drive.submit(failure);
    drive.pass(100);
    expect(drive.submit(REACHED)).toEqual(['notice', 'turn_paused']);
  });

  test('ends as ever with an answer', () => {
    const drive = alone();
    drive.pass(LIMIT);
    expect(drive.submit(answer)).toEqual(['assistant_message', 'turn_finished']);
  });

  test('has its limit too where on_disconnect is pause, and nobody left it', () => {
    const drive = alone('a', 'b');
    drive.rules = { ...drive.rules, onDisconnect: 'pause' };
    drive.pass(LIMIT);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'notice', 'turn_paused']);
    const left = alone('a', 'b');
    left.rules = { ...left.rules, onDisconnect: 'pause', leftTurn: 'turn_1' };
    left.pass(LIMIT + 40_000);
    expect(left.submit(REACHED)).toEqual([]);
    expect(left.submit(result('a'))).toEqual(['tool_finished', 'turn_paused']);
    expect(left.last('turn_paused').reason).toBe('disconnected');
  });
});

describe('a turn that its limit has paused', () => {
  test.each([
    ['somebody who comes', { type: 'attach' } as const, 'attached'],
    ['a message', say('2'), 'message'],
    ['an operator', { type: 'resume', by: 'http:file' } as const, 'operator'],
  ])('is let go on by %s, for as long again', (_, input, cause) => {
    const drive = stopped();
    expect(drive.submit(input)).toEqual(expect.arrayContaining(['turn_resumed', 'tool_started']));
    expect(drive.last('turn_resumed')).toMatchObject({ cause, attempt: 1 });
    drive.pass(LIMIT - 1);
    drive.attended(false);
    expect(drive.submit(REACHED)).toEqual([]);
    drive.pass(1);
    expect(drive.submit(result('b'))).toEqual(['tool_finished', 'notice', 'turn_paused']);
  });

  test('waits on when a schedule, a program or a bot says something', () => {
    const drive = stopped();
    expect(drive.submit(say('2', { source: { kind: 'schedule' } }))).toEqual(['user_message']);
    expect(drive.submit(say('3', { source: { kind: 'webhook' } }))).toEqual(['user_message']);
    expect(keys(drive)).toEqual([]);
    drive.submit({ type: 'pause', by: 'http:file' });
    expect(drive.submit(say('4'))).toEqual(['user_message']);
  });

  test('stays so over a crash, and is told of once wherever the log was cut', () => {
    const whole = stopped();
    expect(whole.crash()).toEqual([]);
    const cut = stopped();
    const notice = cut.events.findIndex(({ type }) => type === 'notice') + 1;
    cut.crash(notice);
    cut.pass(LIMIT);
    cut.submit(result('b'));
    expect(cut.state.turn?.paused).toBe('background_limit');
    expect(cut.events.filter(({ type }) => type === 'notice')).toHaveLength(1);
  });
});

describe('what it worked before a server died', () => {
  test('counts with what was recorded', () => {
    const drive = alone('a', 'b');
    drive.pass(LIMIT / 2);
    drive.submit(result('a'));
    expect(drive.crash()).toEqual(['tool_finished']);
    drive.pass(LIMIT / 2);
    expect(drive.submit((state) => answer(state, { tool_calls: [write('c')] }))).toEqual([
      'assistant_message',
      'notice',
      'turn_paused',
    ]);
    expect(drive.last('turn_paused').unattended_ms).toBeUndefined();
    expect(drive.last('assistant_message').unattended_ms).toBe(LIMIT + 1);
  });

  test('counts up to its end, though nothing was recorded of it, but for 5 minutes at most', () => {
    const short = alone('a', 'b');
    short.pass(LIMIT);
    expect(short.crash()).toEqual(['tool_finished', 'notice', 'turn_paused']);
    expect(short.last('tool_finished').unattended_ms).toBeGreaterThanOrEqual(LIMIT);
    const long = alone('a', 'b');
    long.rules = { ...long.rules, maxBackgroundMs: 6 * 60_000 };
    long.pass(24 * 60 * 60_000);
    expect(long.crash()).toEqual(['tool_finished', 'tool_started']);
    expect(long.state.turn?.unattendedMs).toBe(5 * 60_000 + 1);
  });

  test('is exact where the server stopped in order', () => {
    const drive = alone('a', 'b');
    drive.pass(LIMIT / 2);
    drive.submit({ type: 'drain' });
    drive.pass(24 * 60 * 60_000);
    expect(drive.crash()).toEqual(['turn_resumed', 'tool_started']);
    expect(drive.rules.background.ms).toBe(LIMIT / 2 + 1);
  });
});
