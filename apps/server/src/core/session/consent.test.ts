import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import type { CallVerdict } from './session-input.ts';
import { isSpoken, spokenText } from './spoken-text.ts';
import { answer, dm, Drive, fold, group, say, START } from './testing.ts';

const MINUTE = 60_000;
const APPROVE: CallVerdict = {
  kind: 'approve',
  hash: 'h1',
  tool: 'bash',
  shown: 'git push',
  command: { argv: ['git', 'push'], cwd: '/work', env: {} },
  reason: 'no rule allows it',
  always: 'bash:git push',
};
const ASK: CallVerdict = { kind: 'ask', text: 'Which colour?', timeoutMs: null };

/** A turn whose model asked for one call, with the policy's word about it. */
function asked(verdict: CallVerdict, rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  const limits = () => ({ maxLength: 1000, unit: 'utf16' as const });
  drive.rules = { ...drive.rules, delivery: { ...drive.rules.delivery, limits } };
  drive.submit(START);
  for (const chat of [dm, group]) drive.submit({ type: 'bind', chat });
  drive.policy = () => verdict;
  drive.submit(say('1'));
  drive.submit((state) => answer(state, { content: [], tool_calls: [call('a')] }));
  return drive;
}

const call = (id: string, effect: 'pure' | 'effectful' = 'effectful') => ({
  call: `call_${id}`,
  provider_call_id: id,
  name: 'bash',
  arguments: { command: 'git push' },
  effect,
});
const decide = (drive: Drive, decision: 'allow_once' | 'allow_always' | 'deny'): string[] =>
  drive.submit({
    type: 'decide_approval',
    approval: drive.last('approval_requested').approval,
    decision,
    by: 'telegram:7',
  });
const works = (drive: Drive): string[] =>
  next(drive.state)
    .filter((effect) => effect.type !== 'deliver')
    .map((effect) => effect.key);
const pass = (drive: Drive, ms: number): void => {
  drive.rules = { ...drive.rules, now: drive.rules.now + ms };
};

describe('an approval', () => {
  test('is asked for in every chat of the session, and nothing runs before it', () => {
    const drive = asked(APPROVE, { requester: 'telegram:7' });
    const request = drive.last('approval_requested');
    expect(request).toMatchObject({ tool: 'bash', shown: 'git push', requester: 'telegram:7' });
    expect(request.deliveries.map((one) => one.chat_id)).toEqual(['7', '-100']);
    expect(works(drive)).toEqual([`wait_until expiry/${request.approval}`]);
  });

  test('that is given starts just what it was given for, in the same append', () => {
    const drive = asked(APPROVE);
    expect(decide(drive, 'allow_once')).toEqual(['approval_decided', 'tool_started']);
    expect(drive.last('tool_started')).toMatchObject({
      hash: 'h1',
      arguments: { command: 'git push' },
    });
    expect(works(drive)).toEqual(['run_tool turn_1/call_a']);
  });

  test('counts once: whoever decides second changes nothing', () => {
    const drive = asked(APPROVE);
    decide(drive, 'deny');
    expect(decide(drive, 'allow_once')).toEqual([]);
    expect(drive.events.filter((event) => event.type === 'tool_started')).toEqual([]);
  });

  test('that is denied gives the model a result, and no run', () => {
    const drive = asked(APPROVE);
    expect(decide(drive, 'deny')).toEqual(['approval_decided', 'tool_finished']);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'denied' });
    expect(works(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('for ever is only given where a rule can hold it', () => {
    const drive = asked({ ...APPROVE, always: null });
    expect(decide(drive, 'allow_always')).toEqual([]);
    expect(decide(drive, 'allow_once')).toEqual(['approval_decided', 'tool_started']);
  });

  test('for ever has no button in a group', () => {
    const [inDm, inGroup] = asked(APPROVE).last('approval_requested').deliveries;
    expect(inDm?.keyboard?.flat().map((button) => button.text)).toEqual([
      'Allow once',
      'Allow always',
      'Deny',
    ]);
    expect(inGroup?.keyboard?.flat().map((button) => button.text)).toEqual(['Allow once', 'Deny']);
  });

  test('of what a chat cannot show whole can only be denied there', () => {
    const drive = asked({ ...APPROVE, shown: 'x'.repeat(4000), file: 'art_1' });
    const [inDm] = drive.last('approval_requested').deliveries;
    expect(inDm?.keyboard?.flat().map((button) => button.text)).toEqual(['Deny']);
    expect(inDm?.parts[1]).toEqual({ file: 'art_1' });
  });

  test('shows what cannot be seen', () => {
    const drive = asked({ ...APPROVE, shown: 'rm \u202etxt.exe\u200b\u001b[2K' });
    const request = drive.last('approval_requested');
    expect(isSpoken(request) && spokenText(request)).toContain(
      'rm ⟨U+202E⟩txt.exe⟨U+200B⟩⟨U+001B⟩[2K',
    );
  });

  test('that nobody gives in time is a denial', () => {
    const drive = asked(APPROVE);
    const { approval } = drive.last('approval_requested');
    expect(drive.submit({ type: 'expire', id: approval })).toEqual([]);
    pass(drive, 10 * MINUTE);
    // Too late, also when the clock has not rung yet.
    expect(decide(drive, 'allow_once')).toEqual([]);
    expect(drive.submit({ type: 'expire', id: approval })).toEqual([
      'approval_decided',
      'tool_finished',
    ]);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'denied' });
  });

  test('without a time limit waits for ever', () => {
    const drive = asked(APPROVE, { approvalTimeoutMs: 0 });
    expect(works(drive)).toEqual([]);
    pass(drive, 365 * 24 * 60 * MINUTE);
    expect(decide(drive, 'allow_once')).toEqual(['approval_decided', 'tool_started']);
  });

  test('still waits after a crash, and the old button still works', () => {
    const drive = asked(APPROVE);
    expect(drive.crash()).toEqual([]);
    expect(decide(drive, 'allow_once')).toEqual(['approval_decided', 'tool_started']);
  });

  test('that was given before a crash runs once', () => {
    const drive = asked(APPROVE);
    decide(drive, 'allow_once');
    expect(drive.crash(drive.events.length - 1)).toEqual(['tool_started']);
    expect(drive.recover()).toEqual([]);
  });

  test('that was given long before the server came back is asked for again', () => {
    const drive = asked(APPROVE);
    decide(drive, 'allow_once');
    const { approval } = drive.last('approval_requested');
    pass(drive, 11 * MINUTE);
    expect(drive.crash(drive.events.length - 1)).toEqual([
      'approval_decided',
      'approval_requested',
    ]);
    expect(drive.last('approval_requested').approval).not.toBe(approval);
    expect(drive.events.some((event) => event.type === 'tool_started')).toBe(false);
  });

  test('given while the turn is paused acts when it goes on', () => {
    const drive = asked(APPROVE);
    drive.submit({ type: 'drain' });
    expect(decide(drive, 'allow_once')).toEqual(['approval_decided']);
    expect(drive.crash()).toEqual(['turn_resumed', 'tool_started']);
  });

  test('given days before a paused turn goes on is asked for again', () => {
    const drive = asked(APPROVE);
    drive.submit({ type: 'drain' });
    decide(drive, 'allow_once');
    pass(drive, 24 * 60 * MINUTE);
    expect(drive.crash()).toEqual(['approval_decided', 'turn_resumed', 'approval_requested']);
    expect(drive.events.some((event) => event.type === 'tool_started')).toBe(false);
  });

  test('is asked for where the turn answers to, also where its session has no chat', () => {
    const drive = new Drive();
    drive.submit(START);
    drive.policy = () => APPROVE;
    const { chat_type: _t, peer: _p, inbox: _i, by: _b, ...address } = dm;
    drive.submit(say('1', { source: { kind: 'schedule' }, deliver_to: [address] }));
    drive.submit((state) => answer(state, { tool_calls: [call('a')] }));
    expect(drive.last('approval_requested').deliveries).toMatchObject([{ chat_id: '7' }]);
  });

  test('is void when the turn is stopped', () => {
    const drive = asked(APPROVE);
    expect(drive.submit({ type: 'cancel' })).toEqual(['tool_finished', 'turn_finished']);
    expect(decide(drive, 'allow_once')).toEqual([]);
  });

  test('takes no working time of the turn', () => {
    const limits = { ...new Drive().rules.limits, turn_timeout_ms: 60_000 };
    const drive = asked(APPROVE, { limits });
    pass(drive, 9 * MINUTE);
    expect(drive.submit({ type: 'deadline', turn: 'turn_1' })).toEqual([]);
    decide(drive, 'allow_once');
    pass(drive, MINUTE);
    expect(drive.submit({ type: 'deadline', turn: 'turn_1' })).toContain('turn_finished');
  });

  test('is asked for one call at a time', () => {
    const drive = new Drive();
    drive.submit(START);
    drive.policy = () => APPROVE;
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: [call('a', 'pure'), call('b', 'pure')] }));
    expect(drive.state.turn?.calls.map((one) => one.status)).toEqual(['asked', 'proposed']);
    expect(decide(drive, 'allow_once')).toEqual([
      'approval_decided',
      'tool_started',
      'approval_requested',
    ]);
  });
});

describe('a question', () => {
  test('is answered by the next message of a person, who sees no second answer to it', () => {
    const drive = asked(ASK);
    expect(drive.submit(say('red'))).toEqual([
      'user_message',
      'question_answered',
      'tool_finished',
    ]);
    expect(drive.last('user_message')).toMatchObject({ handling: 'silent' });
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'ok', content: 'red' });
    expect(works(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('with choices is not answered by a message', () => {
    const drive = asked({ ...ASK, choices: ['red', 'blue'] });
    expect(drive.submit(say('red'))).toEqual(['user_message']);
    const { question, deliveries } = drive.last('question_asked');
    expect(deliveries[0]?.keyboard).toEqual([
      [{ text: 'red', data: `/answer ${question} 1` }],
      [{ text: 'blue', data: `/answer ${question} 2` }],
    ]);
    const choose = { type: 'answer_question', question, answer: 'blue', by: 'http' } as const;
    expect(drive.submit(choose)).toEqual(['question_answered', 'tool_finished']);
    expect(drive.submit(choose)).toEqual([]);
  });

  test('is not answered by a bot', () => {
    const drive = asked(ASK);
    const source = { kind: 'http', sender: { name: 'bot', is_bot: true } } as const;
    expect(drive.submit(say('red', { source }))).toEqual(['user_message']);
  });

  test('that nobody answers in time has its default, or none', () => {
    for (const fallback of ['green', undefined]) {
      const drive = asked({
        ...ASK,
        timeoutMs: MINUTE,
        ...(fallback === undefined ? {} : { default: fallback }),
      });
      const { question } = drive.last('question_asked');
      pass(drive, MINUTE);
      expect(drive.submit({ type: 'expire', id: question })).toEqual([
        'question_answered',
        'tool_finished',
      ]);
      expect(drive.last('tool_finished')).toMatchObject(
        fallback === undefined
          ? { outcome: 'timed_out', content: 'Nobody answered in time.' }
          : { outcome: 'ok', content: 'green' },
      );
    }
  });

  test('is answered also where the log was cut right behind the message', () => {
    const drive = asked(ASK);
    drive.submit(say('red'));
    expect(drive.crash(drive.events.length - 2)).toEqual(['question_answered', 'tool_finished']);
    expect(drive.last('tool_finished')).toMatchObject({ content: 'red' });
    expect(drive.recover()).toEqual([]);
  });

  test('is not answered by a schedule or a program', () => {
    for (const kind of ['schedule', 'webhook', 'agent'] as const) {
      const drive = asked(ASK);
      expect(drive.submit(say('red', { source: { kind } }))).toEqual(['user_message']);
    }
  });

  test('that is answered is not interrupted by its answer', () => {
    const drive = asked(ASK, { queue: 'interrupt' });
    expect(drive.submit(say('red'))).toEqual([
      'user_message',
      'question_answered',
      'tool_finished',
    ]);
    expect(works(drive)).toEqual(['call_model turn_1/2/1']);
  });

  test('waits through restarts, and keeps an answer whose result was cut off', () => {
    const drive = asked(ASK);
    expect(drive.crash()).toEqual([]);
    drive.submit(say('red'));
    expect(drive.crash(drive.events.length - 1)).toEqual(['tool_finished']);
    expect(drive.last('tool_finished')).toMatchObject({ content: 'red' });
  });
});

describe('a call that the policy wants told', () => {
  test('is told in the chats before it starts', () => {
    const drive = asked({ kind: 'run', hash: 'h', notify: '🔔 bash: git push' });
    const types = drive.events.map((event) => event.type);
    expect(types.slice(-2)).toEqual(['notice', 'tool_started']);
    expect(drive.last('notice').deliveries).toHaveLength(2);
  });

  test.each([
    { kind: 'run', hash: 'h', notify: 'it runs' },
    { kind: 'refuse', outcome: 'denied', content: 'no', notify: 'it was refused' },
  ] as const)('is told once where the log was cut behind the notice: $kind', (verdict) => {
    const drive = asked(verdict);
    const told = drive.events.findIndex((event) => event.type === 'notice');
    drive.crash(told + 1);
    const types = drive.events.map((event) => event.type);
    expect(types.filter((type) => type === 'notice')).toHaveLength(1);
    expect(types).toContain(verdict.kind === 'run' ? 'tool_started' : 'tool_finished');
    expect(fold(drive.events)).toEqual(drive.state);
  });
});
