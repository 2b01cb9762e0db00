import type { SessionEvent } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import type { LedgerEntry } from '../support/tool-ledger.ts';
import { callsOf, judgeTools, type ToolEvidence, windowsOf } from './tools-judge.ts';

type Draft = { type: SessionEvent['type'] } & Record<string, unknown>;

const turn = 'turn_1';
const call = 'call_1';
const cwd = '/w/a';
const askedFor: object = { command: './act plain t1x 0.1 0' };
const requested: Draft = {
  type: 'approval_requested',
  turn,
  call,
  approval: 'appr_1',
  hash: 'h1',
  command: { argv: [], cwd, env: {} },
};
const started: Draft = { type: 'tool_started', turn, call, hash: 'h1' };
const drained: Draft = { type: 'turn_paused', turn, reason: 'drain' };
const done = finished('ok', { content: 'Exit code 0.\nbegin t1x\nend t1x' });
const effect = [entry('start'), entry('end')];

function decided(decision: string): Draft {
  return { type: 'approval_decided', turn, call, approval: 'appr_1', decision };
}

function finished(outcome: string, more: object = {}): Draft {
  return { type: 'tool_finished', turn, call, outcome, content: '', ...more };
}

function entry(mark: LedgerEntry['mark'], more: Partial<LedgerEntry> = {}): LedgerEntry {
  return { mark, token: 't1x', cwd, ...more };
}

const asksWhat: Draft = { type: 'question_asked', turn, call, question: 'q_1', text: 'What?' };

/** What follows in the log of a server that comes after the one that a kill ended. */
function cut(epoch: number): Draft[] {
  const answered: Draft = { type: 'question_answered', turn, call, question: 'q_1', answer: 'Yes' };
  return [
    { ...asksWhat, epoch },
    { ...answered, epoch },
    finished('unknown', { epoch, content: 'A person says: Yes.' }),
  ];
}

/** A session that had one command run, or asked one question, with this in its log and this done. */
function evidenceOf(
  middle: readonly Draft[],
  ledger: readonly LedgerEntry[],
  { agent = 'asking', name = 'bash', args = askedFor } = {},
): ToolEvidence {
  const drafts: Draft[] = [
    { type: 'session_started', session: 'session_1', agent },
    { type: 'user_message', message_id: 'msg_1', handling: 'turn', content: [] },
    { type: 'turn_started', turn, trigger: ['msg_1'] },
    {
      type: 'assistant_message',
      turn,
      step: 1,
      message_id: 'msg_2',
      input_seq: 3,
      tool_calls: [{ call, provider_call_id: 'c', name, arguments: args }],
    },
    ...middle,
    { type: 'turn_finished', turn, outcome: 'completed' },
  ];
  const events = drafts.map((draft, index) => {
    return { seq: index + 1, epoch: 1, at: '2026-11-21T12:00:00.000Z', ...draft };
  }) as unknown as SessionEvent[];
  const logs = [{ session: 'session_1', events, lines: [] }];
  return { logs, ledger, acks: [], said: [], waiting: new Set() };
}

function faultsOf(evidence: ToolEvidence): string {
  return judgeTools(evidence)
    .map(({ what }) => what)
    .join('\n');
}

const allowed = [requested, decided('allow_once'), started];

describe('nothing is found where', () => {
  test.each([
    ['a command was allowed and ran', [...allowed, done], effect],
    ['it was cut while it ran', [...allowed, ...cut(2)], [entry('start')]],
    ['it was cut before it began', [...allowed, ...cut(2)], []],
    [
      'nobody had said what came of it when its turn was cancelled',
      [...allowed, { ...asksWhat, epoch: 2 }, finished('unknown', { epoch: 2 })],
      [],
    ],
    ['it was denied', [requested, decided('deny'), finished('denied')], []],
    ['it is no longer what was allowed', [...allowed, finished('denied')], []],
    ['the server stopped in order', [...allowed, asksWhat, drained, ...cut(1).slice(1)], effect],
  ])('%s', (_, middle, ledger) => {
    expect(faultsOf(evidenceOf(middle, ledger))).toBe('');
  });

  test('a question was answered', () => {
    const question = { turn, call, question: 'q_1' };
    const middle = [
      { type: 'question_asked', ...question, text: 'Which t1x?' } as const,
      { type: 'question_answered', ...question, answer: 'this' } as const,
      finished('ok', { content: 'this' }),
    ];
    const more = { name: 'ask_user', args: { question: 'Which t1x?' } };
    expect(faultsOf(evidenceOf(middle, [], more))).toBe('');
    const other = [...middle.slice(0, 2), finished('ok', { content: 'that' })];
    expect(faultsOf(evidenceOf(other, [], more))).toContain('the model is told that');
    expect(faultsOf(evidenceOf([finished('ok')], [], more))).toContain('by nobody');
  });
});

describe('it is found that', () => {
  test.each<[string, Draft[], LedgerEntry[]]>([
    ['has 0 results', allowed, effect],
    ['has 2 results', [...allowed, done, done], effect],
    ['was started 2 times', [...allowed, started, done], effect],
    ['took effect 2 times', [...allowed, done], [...effect, ...effect]],
    ['took effect and was never started', [finished('skipped')], effect],
    [
      'was started after it had its result',
      [requested, decided('allow_once'), done, started],
      effect,
    ],
    ['left something behind', [...allowed, done], [...effect, entry('late')]],
    ['is said to be ok and was not done', [...allowed, done], [entry('start')]],
    ['has another output', [...allowed, finished('ok')], effect],
    ['failed: no', [...allowed, finished('error', { content: 'no' })], effect],
    ['is said to be timed out', [...allowed, finished('timed_out')], effect],
    ['is said to be denied and took effect', [...allowed, finished('denied')], effect],
    ['was cut by a kill and is said to be ok', [...allowed, { ...done, epoch: 2 }], effect],
    ['nothing had cut it', [...allowed, ...cut(1)], effect],
    [
      'was cut and nobody was asked',
      [...allowed, finished('unknown', { epoch: 2, content: 'A person says: Yes.' })],
      effect,
    ],
    ['was asked about 2 times', [...allowed, { ...asksWhat, epoch: 2 }, ...cut(2)], effect],
    [
      'was asked about and is said to be ok',
      [...allowed, { ...asksWhat, epoch: 2 }, { ...done, epoch: 2 }],
      effect,
    ],
    [
      'was answered Yes, and the model is told nothing',
      [...allowed, ...cut(2).slice(0, 2), finished('unknown', { epoch: 2, content: 'nothing' })],
      effect,
    ],
    ['was started without being asked for', [started, done], effect],
    ['was asked for 2 times', [requested, decided('expire'), ...allowed, done], effect],
    ['was decided 2 times', [...allowed, decided('deny'), done], effect],
    ['was started and deny', [requested, decided('deny'), started, done], effect],
    ['was refused and ended ok', [requested, decided('deny'), done], effect],
    [
      'as another than was allowed',
      [...allowed.slice(0, 2), { ...started, hash: 'h2' }, done],
      effect,
    ],
    ['ran in /w/b', [...allowed, done], effect.map((one) => ({ ...one, cwd: '/w/b' }))],
    ['no log knows such a call', [...allowed, done], [...effect, entry('start', { token: 't2x' })]],
  ])('a call %s', (fault, middle, ledger) => {
    expect(faultsOf(evidenceOf(middle, ledger))).toContain(fault);
  });

  test('people were asked about a command of an agent that does not have them asked', () => {
    const evidence = evidenceOf([started, ...cut(2)], effect, { agent: 'free' });
    expect(faultsOf(evidence)).toContain('was asked about unasked');
    const untold = evidenceOf([started, finished('unknown', { epoch: 2 })], effect, {
      agent: 'free',
    });
    expect(faultsOf(untold)).toBe('');
  });

  test('a forbidden command ran', () => {
    const args = { command: './act forbidden t1x 0.1 0' };
    const evidence = evidenceOf([started, done], effect, { args, agent: 'free' });
    expect(faultsOf(evidence)).toContain('is forbidden and ended ok');
  });

  test('what people were told does not hold', () => {
    const evidence = evidenceOf([...allowed, done], effect);
    const told = (...said: string[]): string =>
      faultsOf({ ...evidence, acks: said.map((one) => ({ id: 'appr_1', said: one })) });
    expect(told('allow_once')).toBe('');
    expect(told('deny')).toContain('was acknowledged, and the log has allow_once');
    expect(told('allow_once', 'allow_once')).toContain('was decided by several');
    const said = [{ session: 'session_1', text: 'go' }];
    expect(faultsOf({ ...evidence, said })).toContain('is in the log 0 times');
  });
});

test('counts where kills have met calls', () => {
  const middle = [requested, { ...decided('allow_once'), epoch: 2 }, { ...started, epoch: 3 }];
  const evidence = evidenceOf([...middle, finished('unknown', { epoch: 4 })], effect);
  expect(windowsOf(callsOf(evidence), evidence.logs)).toMatchObject({
    'between request and decision': 1,
    'between decision and start': 1,
    'after its end': 1,
    'while it ran': 0,
    unknown: 1,
  });
});
