import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import { answer, Drive, failure, result, say, START, write } from './testing.ts';
import type { CallVerdict } from './session-input.ts';
import { hasTurn, hasWork, summarize } from './summary.ts';

const APPROVE: CallVerdict = {
  kind: 'approve',
  hash: 'h',
  tool: 'write',
  shown: 'write x',
  reason: 'the policy',
  always: null,
};
const PAUSE = { type: 'pause', by: 'http:owner' } as const;
const RESUME = { type: 'resume', by: 'telegram:7' } as const;
const keys = (drive: Drive): string[] => next(drive.state).map((effect) => effect.key);

function begun(rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  drive.submit(START);
  return drive;
}

/** A turn whose model has asked for these calls. */
function calling(...ids: string[]): Drive {
  const drive = begun();
  drive.submit(say('1'));
  drive.submit((state) => answer(state, { tool_calls: ids.map(write) }));
  return drive;
}

describe('an operator who pauses', () => {
  test('a session without a turn holds what is said until it is resumed', () => {
    const drive = begun();
    expect(drive.submit(PAUSE)).toEqual(['session_paused']);
    expect(drive.submit(PAUSE)).toEqual([]);
    expect(drive.submit(say('1'))).toEqual(['user_message']);
    expect(drive.submit({ type: 'attach' })).toEqual([]);
    expect(drive.submit({ type: 'wake' })).toEqual([]);
    expect(keys(drive)).toEqual([]);
    expect(hasWork(drive.state)).toBe(false);
    expect(summarize(drive.state)).toMatchObject({ paused_by: 'http:owner', paused: false });
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_started']);
    expect(drive.last('session_resumed').by).toBe('telegram:7');
    expect(drive.submit(RESUME)).toEqual([]);
    expect(keys(drive)).toEqual(['call_model turn_1/1/1']);
  });

  test('lets the model call end, and the turn with it', () => {
    const drive = begun({ queue: 'sequential' });
    drive.submit(say('1'));
    expect(drive.submit(PAUSE)).toEqual(['session_paused']);
    expect(keys(drive)).toEqual(['call_model turn_1/1/1']);
    drive.submit(say('2'));
    expect(drive.submit(answer)).toEqual(['assistant_message', 'turn_finished']);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_started']);
  });

  test('stops the turn before the tools that its step asks for', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit(PAUSE);
    expect(drive.submit((state) => answer(state, { tool_calls: [write('a')] }))).toEqual([
      'assistant_message',
      'turn_paused',
    ]);
    expect(keys(drive)).toEqual([]);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_started']);
    expect(drive.last('turn_resumed')).toMatchObject({ cause: 'operator', attempt: 1 });
  });

  test('lets a tool end, and stops the turn before the next', () => {
    const drive = calling('a', 'b');
    expect(drive.submit(PAUSE)).toEqual(['session_paused']);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'turn_paused']);
    expect(drive.last('turn_paused').reason).toBe('operator');
    expect(hasTurn(drive.state)).toBe(false);
    drive.submit(RESUME);
    expect(keys(drive)).toEqual(['run_tool turn_1/call_b']);
  });

  test('begins no call that is allowed while another one runs', () => {
    const drive = begun();
    drive.policy = (call) =>
      call === 'call_a' ? { kind: 'run', hash: 'h', notify: null } : APPROVE;
    drive.submit(say('1'));
    const calls = ['a', 'b'].map((id) => ({ ...write(id), effect: 'pure' as const }));
    drive.submit((state) => answer(state, { tool_calls: calls }));
    drive.submit(PAUSE);
    const { approval } = drive.last('approval_requested');
    const decide = { type: 'decide_approval', approval, decision: 'allow_once', by: 'o' } as const;
    expect(drive.submit(decide)).toEqual(['approval_decided']);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'turn_paused']);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_started']);
  });

  test('begins no call that the policy lets run while another one runs', () => {
    const drive = begun();
    const run = { kind: 'run', hash: 'h', notify: null } as const;
    drive.policy = (call) => (call === 'call_a' ? run : null);
    drive.submit(say('1'));
    const calls = ['a', 'b'].map((id) => ({ ...write(id), effect: 'pure' as const }));
    drive.submit((state) => answer(state, { tool_calls: calls }));
    drive.submit(PAUSE);
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a']);
    const judged = { type: 'call_judged', turn: 'turn_1', call: 'call_b', verdict: run } as const;
    expect(drive.submit(judged)).toEqual([]);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'turn_paused']);
    drive.submit(RESUME);
    expect(keys(drive)).toEqual(['judge_call turn_1/call_b/0']);
  });

  test('stops it at once where the next try of a model call waits', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit(failure);
    expect(drive.submit(PAUSE)).toEqual(['session_paused', 'turn_paused']);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed']);
    expect(keys(drive)).toEqual(['call_model turn_1/1/2']);
  });

  test('keeps it when somebody writes, comes, or answers what was asked', () => {
    const drive = begun();
    drive.policy = () => ({ kind: 'ask', text: 'Which?', timeoutMs: null });
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [write('a')] }));
    expect(drive.submit(PAUSE)).toEqual(['session_paused', 'turn_paused']);
    expect(drive.submit({ type: 'attach' })).toEqual([]);
    expect(drive.submit(say('2'))).toEqual(['user_message', 'question_answered']);
    expect(drive.submit(say('3'))).toEqual(['user_message']);
    expect(keys(drive)).toEqual([]);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_finished']);
    expect(drive.last('tool_finished').content).toBe('2');
  });

  test('lets an approval be decided: it acts when the session goes on', () => {
    const drive = begun();
    drive.policy = () => APPROVE;
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [write('a')] }));
    drive.submit(PAUSE);
    const { approval } = drive.last('approval_requested');
    const decide = { type: 'decide_approval', approval, decision: 'allow_once', by: 'o' } as const;
    expect(drive.submit(decide)).toEqual(['approval_decided']);
    expect(keys(drive)).toEqual([]);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_started']);
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a']);
  });

  test('interrupts nothing with what is said meanwhile; the resumed turn is interrupted', () => {
    const drive = begun({ queue: 'interrupt' });
    drive.submit(say('1'));
    drive.submit(PAUSE);
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    drive.submit(failure);
    expect(drive.state.turn?.paused).toBe('operator');
    expect(drive.submit(RESUME)).toEqual([
      'session_resumed',
      'turn_resumed',
      'turn_finished',
      'turn_started',
    ]);
  });

  test('can still cancel the turn and end the session', () => {
    const drive = calling('a', 'b');
    drive.submit(PAUSE);
    drive.submit(result('a'));
    drive.submit(say('2'));
    expect(drive.submit({ type: 'cancel' })).toEqual(['tool_finished', 'turn_finished']);
    expect(drive.state.turn).toBeNull();
    expect(drive.submit({ type: 'end', reason: 'user' })).toEqual(['session_ended']);
    expect(drive.submit(RESUME)).toEqual([]);
    expect(summarize(drive.state).paused_by).toBeUndefined();
  });

  test('lets a turn that everyone left go on, also where nobody had paused it', () => {
    const drive = begun({ onDisconnect: 'pause' });
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [write('a'), write('b')] }));
    drive.rules = { ...drive.rules, leftTurn: 'turn_1' };
    drive.submit(result('a'));
    expect(drive.state.turn?.paused).toBe('disconnected');
    drive.rules = { ...drive.rules, leftTurn: null };
    expect(drive.submit(PAUSE)).toEqual(['session_paused']);
    expect(drive.submit({ type: 'attach' })).toEqual([]);
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_started']);
  });
});

describe('a server that dies or stops while a session is paused', () => {
  test('keeps it paused, and repeats nothing', () => {
    const drive = calling('a', 'b');
    drive.submit(PAUSE);
    drive.submit(result('a'));
    expect(drive.crash()).toEqual([]);
    expect(drive.submit({ type: 'drain' })).toEqual([]);
    expect(drive.crash()).toEqual([]);
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_resumed', 'tool_started']);
    expect(drive.last('turn_resumed').attempt).toBe(1);
  });

  test('stops the turn at its safe point: what was cut is closed, and nothing more is begun', () => {
    const model = begun();
    model.submit(say('1'));
    model.submit(PAUSE);
    expect(model.crash()).toEqual(['turn_resumed', 'turn_paused']);
    expect(keys(model)).toEqual([]);
    expect(model.recover()).toEqual([]);
    const tool = calling('a', 'b');
    tool.submit(PAUSE);
    expect(tool.crash()).toEqual(['tool_finished', 'turn_paused']);
    expect(keys(tool)).toEqual([]);
    tool.submit(RESUME);
    expect(keys(tool)).toEqual(['run_tool turn_1/call_b']);
  });

  test('runs nothing again, also not what may be', () => {
    const drive = begun();
    drive.submit(say('1'));
    const retried = { ...write('a'), effect: 'pure', on_interrupt: 'retry' } as const;
    drive.submit((state) => answer(state, { tool_calls: [retried] }));
    drive.submit(PAUSE);
    expect(drive.crash()).toEqual(['tool_finished', 'turn_paused']);
    expect(drive.last('tool_finished').outcome).toBe('unknown');
    expect(drive.recover()).toEqual([]);
  });

  test('stops what a stop of the server had parked', () => {
    const drive = calling('a', 'b');
    drive.submit(PAUSE);
    expect(drive.submit({ type: 'drain' })).toEqual(['tool_finished', 'turn_paused']);
    expect(drive.last('turn_paused').reason).toBe('drain');
    expect(hasWork(drive.state)).toBe(true);
    expect(drive.crash()).toEqual(['turn_resumed', 'turn_paused']);
    expect(drive.last('turn_paused').reason).toBe('operator');
    expect(keys(drive)).toEqual([]);
  });

  test('goes on with a turn whose session was resumed, where the log was cut between the two', () => {
    const drive = calling('a', 'b');
    drive.submit(PAUSE);
    drive.submit(result('a'));
    drive.submit(RESUME);
    const cut = drive.events.findIndex(({ type }) => type === 'session_resumed') + 1;
    expect(drive.crash(cut)).toEqual(['turn_resumed', 'tool_started']);
    expect(drive.recover()).toEqual([]);
  });
});

test('messages of a burst start a turn when the session is resumed, and are not waited for before', () => {
  const waiting = { maxPending: 10, overflow: 'drop_old', rejectMessage: '', debounceMs: 1500 };
  const drive = begun({ waiting: { ...waiting, overflow: 'drop_old' } });
  const chat = { gateway: 'telegram', account: 'telegram', chat_id: '7', chat_type: 'dm' } as const;
  drive.submit({ type: 'bind', chat: { ...chat, peer: '7', inbox: 0, by: 'server' } });
  drive.submit(PAUSE);
  for (const n of [1, 2]) {
    drive.rules = { ...drive.rules, now: drive.rules.now + 100 };
    const sender = { id: 'ann', name: 'Ann' };
    const source = {
      kind: 'gateway',
      sender,
      chat: { ...chat, message_id: `p${n}` },
      inbox: { account: 'telegram', n },
    } as const;
    drive.submit(say(`${n}`, { source }));
  }
  expect(drive.state.pending[1]?.held_until).toBeDefined();
  expect(keys(drive)).toEqual([]);
  drive.rules = { ...drive.rules, now: drive.rules.now + 10_000 };
  expect(drive.submit(RESUME)).toEqual(['session_resumed', 'turn_started']);
});
