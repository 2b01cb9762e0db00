import type { SessionEvent } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { TurnWatch } from './turn-watch.ts';

let seq = 0;
const usage = { input_tokens: 0, output_tokens: 0 };
const event = (fields: Record<string, unknown>): SessionEvent =>
  ({ seq: ++seq, epoch: 1, at: '2026-01-01T00:00:00.000Z', ...fields }) as SessionEvent;
const message = (id: string) => event({ type: 'user_message', message_id: id, handling: 'turn' });
const started = (turn: string, ...trigger: string[]) =>
  event({ type: 'turn_started', turn, trigger });
const answered = (turn: string, inputSeq: number) =>
  event({ type: 'assistant_message', turn, input_seq: inputSeq });
const finished = (turn: string, outcome = 'completed') =>
  event({ type: 'turn_finished', turn, outcome, usage });

function watch(...events: SessionEvent[]): TurnWatch {
  const one = new TurnWatch();
  for (const each of events) one.apply(each);
  return one;
}

describe('TurnWatch', () => {
  it('is idle in the beginning, and again when the turn of a message has finished', () => {
    expect(watch().idle).toBe(true);
    const asked = message('m1');
    expect(watch(asked).idle).toBe(false);
    expect(watch(asked, started('t1', 'm1')).turn).toBe('t1');
    expect(watch(asked, started('t1', 'm1'), finished('t1', 'failed'))).toMatchObject({
      idle: true,
      lastOutcome: 'failed',
    });
  });

  it('counts a message that the running turn took in as answered with it', () => {
    const one = watch(message('m1'), started('t1', 'm1'));
    const steered = message('m2');
    for (const each of [steered, answered('t1', steered.seq), finished('t1')]) one.apply(each);
    expect(one.idle).toBe(true);
  });

  it('waits for a turn of its own for a message that the running turn did not see', () => {
    const one = watch(
      message('m1'),
      started('t1', 'm1'),
      message('m2'),
      answered('t1', 1),
      finished('t1'),
    );
    expect(one.idle).toBe(false);
    one.apply(started('t2', 'm2'));
    one.apply(finished('t2'));
    expect(one.idle).toBe(true);
  });

  it('waits for nothing once the session has ended', () => {
    expect(watch(message('m1'), event({ type: 'session_ended', reason: 'user' }))).toMatchObject({
      idle: true,
      ended: true,
    });
  });

  it('does not wait for messages that were dropped, or have a new text', () => {
    const dropped = event({ type: 'message_dropped', message_ids: ['m1'], reason: 'busy' });
    expect(watch(message('m1'), dropped).idle).toBe(true);
    const edit = { type: 'user_message', message_id: 'm2', handling: 'turn', replaces: 'm1' };
    const edited = watch(message('m1'), event(edit));
    expect(edited.idle).toBe(false);
    for (const each of [started('t1', 'm2'), finished('t1')]) edited.apply(each);
    expect(edited.idle).toBe(true);
  });

  it('does not wait for messages that ask for no answer', () => {
    expect(watch(event({ type: 'user_message', message_id: 'm', handling: 'passive' })).idle).toBe(
      true,
    );
  });
});
