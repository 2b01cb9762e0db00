import { describe, expect, test } from 'vitest';
import { foldLog } from './fold.ts';
import { next } from './next.ts';
import { answer, Drive, say, START } from './testing.ts';

const given = (summarize_seq?: number) => ({
  given: {
    from_seq: 1,
    masked_seq: 0,
    tokens: 10,
    ...(summarize_seq === undefined ? {} : { summarize_seq }),
  },
});
const finished = (up_to_seq: number) => ({
  type: 'summary_finished' as const,
  up_to_seq,
  summary: 'all of it',
  usage: { input_tokens: 100, output_tokens: 20 },
  model: 'm',
});
const failed = (up_to_seq: number) => ({
  type: 'summary_failed' as const,
  up_to_seq,
  error: { code: 'model_unavailable', message: 'It does not answer.' },
  model: 'm',
});
const owed = (drive: Drive): string[] =>
  next(drive.state)
    .filter(({ type }) => type === 'summarize')
    .map(({ key }) => key);

/** Two turns; the second asked for a summary of the first. */
function long(rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  drive.submit(START);
  drive.submit(say('1'));
  drive.submit((state) => answer(state, given()));
  drive.submit(say('2'));
  drive.submit((state) => answer(state, given(5)));
  return drive;
}

describe('a summary', () => {
  test('is owed once a call has said that the conversation grows too long, also after a restart', () => {
    const drive = long();
    expect(owed(drive)).toEqual(['summarize 5']);
    drive.crash();
    expect(owed(drive)).toEqual(['summarize 5']);
    expect(drive.submit(finished(5))).toEqual(['history_summarized']);
    expect(drive.last('history_summarized')).toMatchObject({ up_to_seq: 5, summary: 'all of it' });
    expect(owed(drive)).toEqual([]);
    expect(drive.state.usage).toEqual({ input_tokens: 120, output_tokens: 30 });
    expect(drive.submit(finished(5))).toEqual([]);
  });

  test('that fails lets the session go on, and is owed again only for more', () => {
    const drive = long();
    expect(drive.submit(failed(5))).toEqual(['summary_failed']);
    expect(owed(drive)).toEqual([]);
    drive.submit(say('3'));
    expect(drive.submit((state) => answer(state, given(5)))).toContain('turn_finished');
    expect(owed(drive)).toEqual([]);
    drive.submit(say('4'));
    drive.submit((state) => answer(state, given(9)));
    expect(owed(drive)).toEqual(['summarize 9']);
  });

  test('is let to its end before another one is owed', () => {
    const drive = long();
    drive.submit(say('3'));
    drive.submit((state) => answer(state, given(9)));
    expect(owed(drive)).toEqual(['summarize 5']);
    expect(drive.submit(finished(9))).toEqual([]);
    drive.submit(finished(5));
    drive.submit(say('4'));
    drive.submit((state) => answer(state, given(9)));
    expect(owed(drive)).toEqual(['summarize 9']);
  });

  test('names the turn that is open, and takes nothing of it from the window', () => {
    const drive = long();
    drive.submit(say('3'));
    drive.submit(finished(5));
    expect(drive.last('history_summarized').turn).toBe(drive.state.turn?.turn);
    const open = foldLog(null, drive.events).window;
    expect(open.start).toBe(6);
    expect(open.events.map(({ seq }) => seq)).toEqual([6, 7, 8, 10, 11, 12]);
    // One that ends in the open turn.
    drive.submit((state) => answer(state, { ...given(drive.state.seq), tool_calls: [call] }));
    const upTo = drive.last('assistant_message').given?.summarize_seq ?? 0;
    drive.submit(finished(upTo));
    expect(foldLog(null, drive.events).window.start).toBe(10);
    drive.submit({ type: 'cancel' });
    expect(foldLog(null, drive.events).window.start).toBe(upTo + 1);
  });

  test('leaves in the window what still waits for its own turn', () => {
    const drive = new Drive({ queue: 'sequential' });
    drive.submit(START);
    drive.submit(say('1'));
    drive.submit(say('2'));
    drive.submit((state) => answer(state, { ...given(4), tool_calls: [call] }));
    drive.submit(finished(4));
    drive.submit({ type: 'cancel' });
    drive.submit(answer);
    expect(drive.state.turn).toBeNull();
    const { window } = foldLog(null, drive.events);
    expect(window.events[0]).toMatchObject({ type: 'user_message', message_id: 'msg_2' });
  });

  test('is not owed while everybody waits, nor by a session that has ended', () => {
    const drive = long();
    drive.submit(say('3'));
    drive.submit({ type: 'drain' });
    expect(owed(drive)).toEqual([]);
    drive.crash();
    expect(owed(drive)).toEqual(['summarize 5']);
    drive.submit({ type: 'end', reason: 'user' });
    expect(owed(drive)).toEqual([]);
    expect(drive.submit(finished(5))).toEqual([]);
  });
});

const call = { call: 'call_a', provider_call_id: 'a', name: 'read', arguments: {} };
