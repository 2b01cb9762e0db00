import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import { MAX_CALLS, MAX_PENDING } from './state.ts';
import { answer, Drive, failure, say, START } from './testing.ts';

const PURE = { effect: 'pure', on_interrupt: 'tell_model' } as const;
const EFFECTFUL = { effect: 'effectful', on_interrupt: 'tell_model' } as const;
const RETRY = { effect: 'idempotent', on_interrupt: 'retry' } as const;
const kinds = { read: PURE, write: EFFECTFUL, put: RETRY };
const call = (id: string, name: keyof typeof kinds) => ({
  call: `call_${id}`,
  provider_call_id: id,
  name,
  arguments: { path: id },
  ...kinds[name],
});
const keys = (drive: Drive): string[] => next(drive.state).map((effect) => effect.key);

function begun(rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  drive.submit(START);
  return drive;
}

describe('a message', () => {
  test('starts a turn in the same append, and a model call is owed', () => {
    const drive = begun();
    expect(drive.submit(say('1'))).toEqual(['user_message', 'turn_started']);
    expect(drive.last('turn_started')).toMatchObject({ turn: 'turn_1', trigger: ['msg_1'] });
    expect(keys(drive)).toEqual(['call_model turn_1/1/1']);
  });

  test('that is passive or silent starts nothing', () => {
    const drive = begun();
    expect(drive.submit(say('1', { handling: 'passive' }))).toEqual(['user_message']);
    expect(drive.submit(say('2', { handling: 'silent' }))).toEqual(['user_message']);
    expect(keys(drive)).toEqual([]);
  });

  test('with a known idempotency key changes nothing', () => {
    const drive = begun();
    const source = { kind: 'http', idempotency: 'abc' } as const;
    drive.submit(say('1', { source }));
    expect(drive.submit(say('2', { source }))).toEqual([]);
  });

  test('is not taken after the end, nor beyond what may wait', () => {
    const drive = begun();
    for (let i = 0; i <= MAX_PENDING; i += 1) drive.submit(say(`${i}`));
    expect(drive.state.pending).toHaveLength(MAX_PENDING);
    expect(drive.submit(say('more'))).toEqual([]);
    drive.submit({ type: 'end', reason: 'user' });
    expect(drive.submit(say('late'))).toEqual([]);
  });
});

describe('the end of a model call', () => {
  test('without tool calls ends the turn in the same append', () => {
    const drive = begun();
    drive.submit(say('1'));
    expect(drive.submit(answer)).toEqual(['assistant_message', 'turn_finished']);
    expect(drive.last('turn_finished')).toMatchObject({
      outcome: 'completed',
      usage: { input_tokens: 10, output_tokens: 5 },
    });
    expect(keys(drive)).toEqual([]);
  });

  test('that is repeated, stale or of another attempt changes nothing', () => {
    const drive = begun();
    drive.submit(say('1'));
    const first = answer(drive.state);
    expect(drive.submit({ ...first, attempt: 2 })).toEqual([]);
    expect(drive.submit({ ...first, step: 2 })).toEqual([]);
    expect(drive.submit({ ...first, turn: 'turn_other' })).toEqual([]);
    drive.submit(first);
    expect(drive.submit(first)).toEqual([]);
    expect(drive.submit(failure(drive.state))).toEqual([]);
  });

  test('takes another step when a steered message came meanwhile', () => {
    const drive = begun();
    drive.submit(say('1'));
    const call = answer(drive.state);
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    expect(drive.submit(call)).toEqual(['assistant_message']);
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
    expect(drive.submit(answer)).toEqual(['assistant_message', 'turn_finished']);
    expect(drive.state.pending).toEqual([]);
  });

  test('in sequential mode gives each waiting message a turn of its own, in order', () => {
    const drive = begun({ queue: 'sequential' });
    drive.submit(say('1'));
    drive.submit(say('2'));
    drive.submit(say('3'));
    expect(drive.submit(answer)).toEqual(['assistant_message', 'turn_finished', 'turn_started']);
    expect(drive.last('turn_started').trigger).toEqual(['msg_2']);
    drive.submit(answer);
    expect(drive.last('turn_started').trigger).toEqual(['msg_3']);
    drive.submit(answer);
    expect(drive.state.turn).toBeNull();
    expect(drive.state.turns).toBe(3);
  });
});

describe('a failed model call', () => {
  test('is tried again after 1, 4 and 16 s (± 20 %), then the turn fails', () => {
    const drive = begun();
    drive.submit(say('1'));
    for (const [i, planned] of [1000, 4000, 16_000].entries()) {
      expect(drive.submit(failure)).toEqual(['model_call_failed']);
      const wait = Date.parse(drive.last('model_call_failed').retry?.at ?? '') - drive.rules.now;
      expect(wait).toBeGreaterThanOrEqual(planned * 0.8);
      expect(wait).toBeLessThanOrEqual(planned * 1.2);
      expect(keys(drive)).toEqual([`call_model turn_1/1/${i + 2}`]);
    }
    expect(drive.submit(failure)).toEqual(['model_call_failed', 'turn_finished']);
    expect(drive.last('turn_finished')).toMatchObject({
      outcome: 'failed',
      error: { code: 'model_unavailable' },
    });
  });

  test('waits as long as the provider asks, but at most a minute', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => failure(state, { retryAfterMs: 30_000 }));
    const at = () => Date.parse(drive.last('model_call_failed').retry?.at ?? '') - drive.rules.now;
    expect(at()).toBe(30_000);
    drive.submit((state) => failure(state, { retryAfterMs: 3_600_000 }));
    expect(at()).toBe(60_000);
  });

  test('goes to each fallback once, at once when trying again cannot help', () => {
    const drive = begun();
    drive.rules = { ...drive.rules, limits: { ...drive.rules.limits, fallbacks: 2 } };
    drive.submit(say('1'));
    const candidates = [];
    for (;;) {
      drive.submit((state) => failure(state, { retryable: drive.state.turn?.candidate !== 0 }));
      const { retry } = drive.last('model_call_failed');
      if (!retry) break;
      candidates.push(retry.candidate);
      expect(Date.parse(retry.at)).toBe(drive.rules.now);
    }
    expect(candidates).toEqual([1, 2]);
    expect(drive.last('turn_finished').outcome).toBe('failed');
  });
});

describe('tool calls', () => {
  test('are started before they run, one with effect at a time', () => {
    const drive = begun();
    drive.submit(say('1'));
    expect(
      drive.submit((state) =>
        answer(state, { tool_calls: [call('a', 'write'), call('b', 'write')] }),
      ),
    ).toEqual(['assistant_message', 'tool_started']);
    expect(drive.last('tool_started')).toMatchObject({ call: 'call_a', arguments: { path: 'a' } });
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a']);
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'tool_started']);
    expect(keys(drive)).toEqual(['run_tool turn_1/call_b']);
    expect(drive.submit(result('b'))).toEqual(['tool_finished']);
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('without effect run side by side', () => {
    const drive = begun();
    drive.submit(say('1'));
    const tool_calls = [call('a', 'read'), call('b', 'read'), call('c', 'write')];
    drive.submit((state) => answer(state, { tool_calls }));
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a', 'run_tool turn_1/call_b']);
    drive.submit(result('b'));
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a']);
    drive.submit(result('a'));
    expect(keys(drive)).toEqual(['run_tool turn_1/call_c']);
  });

  test('that the policy refuses get their result and the model goes on', () => {
    const drive = begun();
    drive.policy = () => ({ kind: 'refuse', outcome: 'denied', content: 'This is not allowed.' });
    drive.submit(say('1'));
    expect(drive.submit((state) => answer(state, { tool_calls: [call('a', 'write')] }))).toEqual([
      'assistant_message',
      'tool_finished',
    ]);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'denied' });
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('beyond what one step may ask for are left out, and each has its result', () => {
    const drive = begun();
    drive.submit(say('1'));
    const tool_calls = Array.from({ length: MAX_CALLS + 3 }, (_, i) => call(`${i}`, 'read'));
    drive.submit((state) => answer(state, { tool_calls }));
    for (let i = 0; i < MAX_CALLS; i += 1) drive.submit(result(`${i}`));
    const ends = drive.events.filter((event) => event.type === 'tool_finished');
    expect(ends.map((event) => event.outcome)).toEqual([
      'skipped',
      'skipped',
      'skipped',
      ...Array.from({ length: MAX_CALLS }, () => 'ok'),
    ]);
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('end the turn at the limit of its steps', () => {
    const drive = begun();
    drive.submit(say('1'));
    for (let step = 1; step <= 10; step += 1) {
      drive.submit((state) => answer(state, { tool_calls: [call(`${step}`, 'read')] }));
      drive.submit(result(`${step}`));
    }
    expect(drive.last('turn_finished')).toMatchObject({
      outcome: 'failed',
      error: { code: 'max_tool_iterations' },
    });
    expect(drive.events.filter((event) => event.type === 'assistant_message')).toHaveLength(10);
  });
});

function result(id: string) {
  return {
    type: 'tool_result',
    turn: 'turn_1',
    call: `call_${id}`,
    outcome: 'ok',
    content: 'done',
    details: {},
  } as const;
}

describe('cancelling', () => {
  test('keeps what was seen of the answer', () => {
    const drive = begun();
    drive.submit(say('1'));
    const {
      content: _,
      tool_calls: _t,
      finish_reason: _f,
      usage: _u,
      type: _y,
      ...rest
    } = answer(drive.state);
    expect(drive.submit({ type: 'cancel', draft: { ...rest, text: 'Hel' } })).toEqual([
      'assistant_message',
      'turn_finished',
    ]);
    expect(drive.last('assistant_message')).toMatchObject({
      content: [{ type: 'text', text: 'Hel' }],
      finish_reason: 'cancelled',
    });
    expect(drive.last('turn_finished').outcome).toBe('cancelled');
  });

  test('gives every open call a result', () => {
    const drive = begun();
    drive.submit(say('1'));
    const tool_calls = [call('a', 'write'), call('b', 'write')];
    drive.submit((state) => answer(state, { tool_calls }));
    expect(drive.submit({ type: 'cancel' })).toEqual([
      'tool_finished',
      'tool_finished',
      'turn_finished',
    ]);
    const outcomes = drive.events.flatMap((event) =>
      event.type === 'tool_finished' ? [event.outcome] : [],
    );
    expect(outcomes).toEqual(['cancelled', 'skipped']);
  });

  test('lets messages that wait have their turn', () => {
    const drive = begun({ queue: 'sequential' });
    drive.submit(say('1'));
    drive.submit(say('2'));
    expect(drive.submit({ type: 'cancel' })).toEqual(['turn_finished', 'turn_started']);
    expect(drive.submit({ type: 'cancel' })).toEqual(['turn_finished']);
    expect(drive.submit({ type: 'cancel' })).toEqual([]);
  });
});

describe('recovering', () => {
  test('starts the turn of a message that has none', () => {
    const drive = begun();
    drive.submit(say('1'));
    expect(drive.crash(2)).toEqual(['turn_started']);
  });

  test('calls a cut step again, at most twice', () => {
    const drive = begun();
    drive.submit(say('1'));
    expect(drive.crash()).toEqual(['turn_resumed']);
    expect(keys(drive)).toEqual(['call_model turn_1/1/2']);
    expect(drive.crash()).toEqual(['turn_resumed']);
    expect(keys(drive)).toEqual(['call_model turn_1/1/3']);
    expect(drive.crash()).toEqual(['turn_finished']);
    expect(drive.last('turn_finished')).toMatchObject({ outcome: 'needs_attention' });
    expect(keys(drive)).toEqual([]);
  });

  test('twice adds nothing', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.crash();
    expect(drive.recover()).toEqual([]);
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'write')] }));
    drive.crash();
    expect(drive.recover()).toEqual([]);
  });

  test('ends a turn whose answer is recorded, without calling the model', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit(answer);
    expect(drive.crash(drive.events.length - 1)).toEqual(['turn_finished']);
    expect(drive.last('turn_finished').outcome).toBe('completed');
  });

  test('tells the model that a started tool has an unknown outcome, and never runs it again', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'write')] }));
    expect(drive.crash()).toEqual(['tool_finished']);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'unknown' });
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('repeats a call only where its tool says that this is harmless', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'put')] }));
    expect(drive.crash()).toEqual(['turn_resumed', 'tool_started']);
    expect(drive.last('tool_started')).toMatchObject({ arguments: { path: 'a' } });
    expect(keys(drive)).toEqual(['run_tool turn_1/call_a']);
    expect(drive.recover()).toEqual([]);
    // One that kills its server is not repeated for ever.
    expect(drive.crash()).toEqual(['turn_resumed', 'tool_started']);
    expect(drive.crash()).toEqual(['tool_finished']);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'unknown' });
  });

  test('starts a proposed tool that had not begun', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'write')] }));
    expect(drive.crash(drive.events.length - 1)).toEqual(['tool_started']);
  });

  test('says what was cut off the end of the log', () => {
    const drive = begun();
    drive.rules = { ...drive.rules, epoch: 2 };
    drive.submit({
      type: 'recover',
      openedSeq: 1,
      torn: { bytes: 7, savedAs: 'events.jsonl.torn-99' },
    });
    expect(drive.last('recovered')).toMatchObject({ bytes: 7, saved_as: 'events.jsonl.torn-99' });
  });
});

describe('stopping the server', () => {
  test('parks a turn, and the next start goes on with it without counting a crash', () => {
    const drive = begun();
    drive.submit(say('1'));
    const cut = answer(drive.state);
    expect(drive.submit({ type: 'drain' })).toEqual(['turn_paused']);
    expect(keys(drive)).toEqual([]);
    expect(drive.submit(cut)).toEqual([]);
    expect(drive.crash()).toEqual(['turn_resumed']);
    expect(drive.last('turn_resumed').cause).toBe('drain');
    expect(drive.state.turn?.crashes).toBe(0);
  });

  test('records a running tool as unknown and keeps those that had not begun', () => {
    const drive = begun();
    drive.submit(say('1'));
    const tool_calls = [call('a', 'write'), call('b', 'write')];
    drive.submit((state) => answer(state, { tool_calls }));
    expect(drive.submit({ type: 'drain' })).toEqual(['tool_finished', 'turn_paused']);
    expect(drive.crash()).toEqual(['turn_resumed', 'tool_started']);
    expect(keys(drive)).toEqual(['run_tool turn_1/call_b']);
  });
});

describe('when everyone has left', () => {
  test('a turn pauses at its next safe point and goes on there when somebody attaches', () => {
    const drive = begun({ onDisconnect: 'pause' });
    drive.submit(say('1'));
    drive.rules = { ...drive.rules, leftTurn: 'turn_1' };
    expect(drive.submit({ type: 'detach' })).toEqual([]);
    expect(keys(drive)).toEqual(['call_model turn_1/1/1']);
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'read')] }));
    expect(drive.submit(result('a'))).toEqual(['tool_finished', 'turn_paused']);
    expect(keys(drive)).toEqual([]);
    drive.rules = { ...drive.rules, leftTurn: null };
    expect(drive.submit({ type: 'attach' })).toEqual(['turn_resumed']);
    expect(keys(drive)).toEqual(['call_model turn_1/2/1']);
    expect(drive.submit({ type: 'attach' })).toEqual([]);
  });

  test('a message goes on with a paused turn; a crash leaves it paused', () => {
    const drive = begun({ onDisconnect: 'pause', leftTurn: 'turn_1' });
    drive.submit(say('1'));
    expect(drive.state.turn?.paused).toBe('disconnected');
    expect(drive.crash()).toEqual([]);
    expect(drive.state.turn?.paused).toBe('disconnected');
    expect(drive.submit(say('2'))).toEqual(['user_message', 'turn_resumed']);
  });

  test("the session's own on_disconnect goes before the agent's", () => {
    const drive = new Drive({ onDisconnect: 'pause', leftTurn: 'turn_1' });
    drive.submit({ ...START, on_disconnect: 'continue' } as typeof START);
    expect(drive.submit(say('1'))).toEqual(['user_message', 'turn_started']);
  });
});

describe('a turn with a time limit', () => {
  const limited = (): Drive => {
    const drive = begun();
    const limits = { ...drive.rules.limits, turn_timeout_ms: 60_000 };
    drive.rules = { ...drive.rules, limits };
    drive.submit(say('1'));
    return drive;
  };

  test('fails when it has worked for so long', () => {
    const drive = limited();
    const wait = next(drive.state).find((effect) => effect.type === 'wait_until');
    expect(wait?.at).toBe(drive.rules.now + 60_000);
    expect(drive.submit({ type: 'deadline', turn: 'turn_1' })).toEqual([]);
    drive.rules = { ...drive.rules, now: drive.rules.now + 60_000 };
    expect(drive.submit({ type: 'deadline', turn: 'turn_1' })).toEqual(['turn_finished']);
    expect(drive.last('turn_finished').error?.code).toBe('turn_timeout');
  });

  test('does not count the time for which it was paused', () => {
    const drive = limited();
    drive.rules = { ...drive.rules, now: drive.rules.now + 50_000 };
    drive.submit({ type: 'drain' });
    drive.rules = { ...drive.rules, now: drive.rules.now + 3_600_000 };
    drive.crash();
    const wait = next(drive.state).find((effect) => effect.type === 'wait_until');
    expect(wait?.at).toBe(drive.rules.now + 10_000);
  });
});

describe('ending', () => {
  test('cancels the open turn first, and twice changes nothing', () => {
    const drive = begun();
    drive.submit(say('1'));
    expect(drive.submit({ type: 'end', reason: 'user' })).toEqual([
      'turn_finished',
      'session_ended',
    ]);
    expect(drive.submit({ type: 'end', reason: 'user' })).toEqual([]);
    expect(drive.submit({ type: 'attach' })).toEqual([]);
    expect(drive.crash()).toEqual([]);
  });
});
