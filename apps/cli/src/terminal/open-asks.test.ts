import type { EventOf, SessionEvent } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { howTo, OpenAsks } from './open-asks.ts';

let seq = 0;

function event(fields: Record<string, unknown>): SessionEvent {
  seq += 1;
  const common = { seq, epoch: 1, at: '2026-01-01T00:00:00.000Z', turn: 'turn_1' };
  return { ...common, ...fields } as unknown as SessionEvent;
}

function approval(n: number, always: string | null = null): SessionEvent {
  const ids = { call: `call_${String(n)}`, approval: `appr_${String(n)}` };
  return event({ type: 'approval_requested', ...ids, tool: 'bash', shown: 'ls', always });
}

function question(n: number, choices?: string[]): SessionEvent {
  const ids = { call: `call_${String(n)}`, question: `q_${String(n)}` };
  return event({ type: 'question_asked', ...ids, text: 'Which?', ...(choices && { choices }) });
}

function after(...events: SessionEvent[]): OpenAsks {
  const asks = new OpenAsks();
  for (const one of events) asks.apply(one);
  return asks;
}

describe('OpenAsks', () => {
  it('knows what waits, what waits longest first', () => {
    const asks = after(approval(1, 'bash:ls'), question(2, ['red', 'blue']), question(3));
    expect(asks.first).toEqual({ kind: 'approval', id: 'appr_1', always: true });
    expect(asks.find('question', '')).toEqual({
      kind: 'question',
      id: 'q_2',
      choices: ['red', 'blue'],
    });
    expect(asks.find('question', 'q_3')).toMatchObject({ id: 'q_3', choices: [] });
    expect(asks.find('approval', 'q_3')).toBeNull();
    expect(asks.find('question', 'q_4')).toBeNull();
  });

  it.each([
    ['approval_decided', { approval: 'appr_1', decision: 'allow_once', by: 'telegram:7' }],
    ['approval_decided', { approval: 'appr_1', decision: 'expire', by: 'server' }],
    ['tool_finished', { outcome: 'skipped', content: '', details: {} }],
    ['tool_started', { name: 'bash', arguments: {} }],
  ])('of a call no longer asks after %s', (type, fields) => {
    const asks = after(approval(1), approval(2), event({ type, call: 'call_1', ...fields }));
    expect(asks.first).toMatchObject({ id: 'appr_2' });
    expect(asks.find('approval', 'appr_1')).toBeNull();
  });

  it('asks anew where a call is asked about again', () => {
    const expired = { type: 'approval_decided', call: 'call_1', decision: 'expire', by: 'server' };
    const again = { ...approval(1), approval: 'appr_9' } as SessionEvent;
    expect(after(approval(1), event(expired), again).first).toMatchObject({ id: 'appr_9' });
  });

  it.each(['turn_finished', 'session_ended'])('asks nothing after %s', (type) => {
    expect(after(approval(1), question(2), event({ type })).first).toBeNull();
  });

  it('is not moved by what it does not know', () => {
    const odd = event({ type: 'something_new', call: 'call_1' });
    expect(after(approval(1), odd).first).toMatchObject({ id: 'appr_1' });
  });
});

describe('howTo', () => {
  it('names always only where it can be chosen', () => {
    const words = (always: string | null): string =>
      howTo(approval(1, always) as EventOf<'approval_requested'>);
    expect(words(null)).toBe('y and Enter allows it once, n denies it.');
    expect(words('bash:ls')).toContain('a allows it always');
  });

  it('numbers the choices of a question, and asks for a line where there are none', () => {
    expect(howTo(question(1, ['red', 'blue']) as EventOf<'question_asked'>)).toBe(
      '1. red\n2. blue\nThe number and Enter picks one.',
    );
    expect(howTo(question(1) as EventOf<'question_asked'>)).toBe('Write the answer.');
  });
});
