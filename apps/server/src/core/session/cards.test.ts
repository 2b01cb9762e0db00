import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import type { CallVerdict } from './session-input.ts';
import { MAX_DELIVERIES } from './state.ts';
import { answer, dm, Drive, group, say, START } from './testing.ts';

const APPROVE: CallVerdict = {
  kind: 'approve',
  hash: 'h1',
  tool: 'bash',
  shown: 'git push',
  reason: 'no rule allows it',
  always: 'bash:git push',
};
const ASK: CallVerdict = { kind: 'ask', text: 'Which?', choices: ['red', 'blue'], timeoutMs: 1000 };

/** A turn that has asked people in two chats. */
function asked(verdict: CallVerdict): Drive {
  const drive = new Drive();
  const limits = () => ({ maxLength: 1000, unit: 'utf16' as const });
  drive.rules = { ...drive.rules, delivery: { ...drive.rules.delivery, mirror: false, limits } };
  drive.submit(START);
  for (const chat of [dm, group]) drive.submit({ type: 'bind', chat });
  drive.policy = () => verdict;
  drive.submit(say('1'));
  drive.submit((state) =>
    answer(state, {
      content: [],
      tool_calls: [
        {
          call: 'call_a',
          provider_call_id: 'a',
          name: 'bash',
          arguments: {},
          effect: 'effectful',
        },
      ],
    }),
  );
  return drive;
}

/** The next that is owed to a chat. */
function owedTo(drive: Drive, chat: string) {
  const effects = next(drive.state).filter((effect) => effect.type === 'deliver');
  return effects.find((effect) => effect.chat.chat_id === chat)?.delivery;
}

/** The next that is owed to a chat is sent, and this becomes of it. */
function send(drive: Drive, chat: string, end: { message?: string } | 'lost' | 'dead' = {}): void {
  const delivery = owedTo(drive, chat);
  if (!delivery) throw new Error(`nothing is owed to ${chat}`);
  const { out, part, attempt } = delivery;
  drive.submit({ type: 'deliver_start', out, part, attempt });
  const error = { code: 'lost', message: '' };
  const outcome =
    end === 'dead'
      ? { outcome: end, error }
      : end === 'lost'
        ? { outcome: 'uncertain' as const, error }
        : { outcome: 'delivered' as const, ...end };
  drive.submit({ type: 'deliver_end', out, part, attempt, ...outcome });
}

const decide = (drive: Drive): string[] => {
  const { approval } = drive.last('approval_requested');
  return drive.submit({ type: 'decide_approval', approval, decision: 'allow_once', by: 'http:ci' });
};

const textOf = (drive: Drive): string[] => {
  const { deliveries = [] } = drive.last('approval_decided');
  return deliveries.flatMap(({ parts }) =>
    parts.map((part) => ('prefix' in part ? part.prefix : '')),
  );
};

describe('a card', () => {
  test('is edited in every chat that shows it when it is decided, and says by whom', () => {
    const drive = asked(APPROVE);
    send(drive, '7', { message: 'm1' });
    send(drive, '-100', { message: 'm2' });
    decide(drive);
    expect(owedTo(drive, '7')).toMatchObject({ edits: expect.any(String), preview: 'm1' });
    expect(owedTo(drive, '-100')).toMatchObject({ edits: expect.any(String), preview: 'm2' });
    const said = '🔐 bash: Allowed once (http:ci). session_01';
    expect(textOf(drive)).toEqual([said, said]);
    expect(drive.last('approval_decided').deliveries?.map((one) => one.keyboard)).toEqual([
      undefined,
      undefined,
    ]);
    send(drive, '7');
    send(drive, '-100', 'lost');
    expect(owedTo(drive, '7')).toBeUndefined();
    // An edit that may have been done is done again.
    expect(owedTo(drive, '-100')).toMatchObject({ preview: 'm2', attempt: 2 });
  });

  test('that is being sent is edited once its message is known', () => {
    const drive = asked(APPROVE);
    const { out = '', part = 1, attempt = 1 } = owedTo(drive, '7') ?? {};
    drive.submit({ type: 'deliver_start', out, part, attempt });
    decide(drive);
    expect(owedTo(drive, '7')).toMatchObject({ out, status: 'started' });
    const end = { type: 'deliver_end', out, part, attempt } as const;
    drive.submit({ ...end, outcome: 'delivered', message: 'm1' });
    expect(owedTo(drive, '7')).toMatchObject({ edits: out, preview: 'm1' });
  });

  test('that was being sent when the server died is edited when it has been sent again', () => {
    const drive = asked(APPROVE);
    const { out = '', part = 1, attempt = 1 } = owedTo(drive, '7') ?? {};
    drive.submit({ type: 'deliver_start', out, part, attempt });
    decide(drive);
    drive.crash();
    send(drive, '7', { message: 'm9' });
    expect(owedTo(drive, '7')).toMatchObject({ edits: out, preview: 'm9' });
  });

  test('that never came to its chat is not edited, nor one whose message nobody knows', () => {
    const known = asked(APPROVE);
    send(known, '7', {});
    decide(known);
    expect(owedTo(known, '7')).toBeUndefined();
    const drive = asked(APPROVE);
    decide(drive);
    send(drive, '7', {});
    send(drive, '-100', 'dead');
    expect(owedTo(drive, '7')).toBeUndefined();
    expect(owedTo(drive, '-100')).toBeUndefined();
  });

  test('whose edit is refused for good is done with: nothing waits for another try', () => {
    const drive = asked(APPROVE);
    send(drive, '7', { message: 'm1' });
    decide(drive);
    send(drive, '7', 'dead');
    expect(owedTo(drive, '7')).toBeUndefined();
    expect(drive.state.dead).toEqual([]);
  });

  test('is given up before what says something, where too much waits', () => {
    const drive = asked(APPROVE);
    send(drive, '7', { message: 'm1' });
    send(drive, '-100', { message: 'm2' });
    for (let n = 1; n <= MAX_DELIVERIES / 2; n += 1) {
      drive.submit({ type: 'notify', text: `${n}`, idempotency: `${n}`, chats: null });
    }
    const owed = drive.state.deliveries.map(({ out }) => out);
    expect(owed).toHaveLength(MAX_DELIVERIES);
    decide(drive);
    expect(drive.state.deliveries.map(({ out }) => out)).toEqual(owed);
  });

  test('in a chat that has left the session is edited, too', () => {
    const drive = asked(APPROVE);
    send(drive, '-100', { message: 'm2' });
    drive.submit({ type: 'unbind', chat: group, by: 'server' });
    decide(drive);
    expect(owedTo(drive, '-100')).toMatchObject({ preview: 'm2' });
    send(drive, '-100');
    expect(drive.state.chats.map((chat) => chat.chat_id)).toEqual(['7']);
  });

  test('says so when its turn is stopped', () => {
    const drive = asked(APPROVE);
    send(drive, '7', { message: 'm1' });
    drive.submit({ type: 'cancel' });
    const [delivery] = drive.last('tool_finished').deliveries ?? [];
    expect(delivery?.parts).toMatchObject([
      { prefix: '🔐 bash: No longer asked, the turn was stopped. session_01' },
    ]);
    expect(owedTo(drive, '7')).toMatchObject({ preview: 'm1' });
  });

  test('is edited at the end of its time', () => {
    const drive = asked(APPROVE);
    send(drive, '7', { message: 'm1' });
    drive.rules = { ...drive.rules, now: drive.rules.now + 10 * 60_000 };
    drive.submit({ type: 'expire', id: drive.last('approval_requested').approval });
    expect(textOf(drive)).toContain('🔐 bash: Nobody allowed it in time. session_01');
  });

  test('of a question says what was answered, or that nobody did', () => {
    for (const [by, text] of [
      ['telegram:7', '❓ Answered: blue⟨U+202E⟩ (telegram:7). session_01'],
      ['server', '❓ Nobody answered in time. session_01'],
    ] as const) {
      const drive = asked(ASK);
      send(drive, '7', { message: 'm1' });
      const { question } = drive.last('question_asked');
      if (by === 'server') {
        drive.rules = { ...drive.rules, now: drive.rules.now + 1000 };
        drive.submit({ type: 'expire', id: question });
      } else drive.submit({ type: 'answer_question', question, answer: 'blue\u202e', by });
      const { deliveries = [] } = drive.last('question_answered');
      expect(deliveries[0]?.parts).toMatchObject([{ prefix: text }]);
      expect(owedTo(drive, '7')).toMatchObject({ preview: 'm1' });
    }
  });

  test('without buttons stays as it is', () => {
    const drive = asked({ kind: 'ask', text: 'Which?', timeoutMs: null });
    send(drive, '7', { message: 'm1' });
    const { question } = drive.last('question_asked');
    drive.submit({ type: 'answer_question', question, answer: 'blue', by: 'http' });
    expect(drive.last('question_answered').deliveries).toBeUndefined();
  });
});
