import { describe, expect, test } from 'vitest';
import { waitsForPeople } from './evolve-calls.ts';
import { next } from './next.ts';
import { spokenText } from './spoken-text.ts';
import { answer, dm, Drive, say, START } from './testing.ts';

const call = (id: string, args: unknown = { command: 'make deploy' }) => ({
  call: `call_${id}`,
  provider_call_id: id,
  name: 'bash',
  arguments: args,
  effect: 'effectful' as const,
  on_interrupt: 'ask' as const,
});

/** A session whose call runs. */
function running(
  calls: readonly object[] = [call('a')],
  rules: ConstructorParameters<typeof Drive>[0] = {},
): Drive {
  const drive = new Drive(rules);
  const limits = () => ({ maxLength: 4000, unit: 'utf16' as const });
  drive.rules = { ...drive.rules, delivery: { ...drive.rules.delivery, limits } };
  drive.submit(START);
  drive.submit({ type: 'bind', chat: dm });
  drive.submit(say('1'));
  drive.submit((state) => answer(state, { content: [], tool_calls: calls as never }));
  expect(drive.last('tool_started')).toMatchObject({ call: 'call_a', on_interrupt: 'ask' });
  return drive;
}

/** The server dies while the call runs, and comes back. */
function interrupted(output = 'Uploading …\n', drive = running()): Drive {
  drive.outputs = { call_a: output };
  expect(drive.crash()).toEqual(['question_asked']);
  return drive;
}

const say_ = (drive: Drive, answered: string) => ({
  type: 'answer_question' as const,
  question: drive.last('question_asked').question,
  answer: answered,
  by: 'telegram:7',
});
const works = (drive: Drive): string[] =>
  next(drive.state)
    .filter((effect) => effect.type !== 'deliver')
    .map((effect) => effect.key);
const results = (drive: Drive) => drive.events.filter((event) => event.type === 'tool_finished');

describe('a call that a crash cut, of a tool that people are asked about', () => {
  test('is asked about in every chat, with what it did and the end of its output, for ever', () => {
    const drive = interrupted();
    const asked = drive.last('question_asked');
    expect(asked).toMatchObject({
      call: 'call_a',
      choices: ['It was done', 'It was not done', 'I cannot say'],
      interrupted: { output: 'Uploading …\n' },
      expires_at: null,
    });
    expect(asked.text).toBe(
      [
        'The server was restarted while this ran, and did not see how it ended:',
        '',
        '│ bash',
        '│ command: make deploy',
        '',
        'The end of its output:',
        '│ Uploading …',
        '',
        'It is not run again by itself. What came of it?',
      ].join('\n'),
    );
    const [card] = asked.deliveries;
    expect(card?.keyboard?.flat().map((button) => button.data)).toEqual(
      [1, 2, 3].map((n) => `/answer ${asked.question} ${n}`),
    );
    expect(spokenText(asked)).toContain('│ command: make deploy');
    // It waits for people, and nothing runs.
    expect(drive.state.turn && waitsForPeople(drive.state.turn)).toBe(true);
    expect(works(drive)).toEqual([]);
  });

  test.each([
    [
      'It was done',
      /and says: It was done\. It was not run again\.\nIts output so far:\nUploading/,
    ],
    ['It was not done', /and says: It was not done\. It was not run again\./],
    ['I cannot say', /cannot say, so its outcome is unknown: .* Check before you do it again\./],
  ])('has one result, of unknown outcome, with the word of a person: %s', (said, told) => {
    const drive = interrupted();
    expect(drive.submit(say_(drive, said))).toEqual(['question_answered', 'tool_finished']);
    const result = drive.last('tool_finished');
    expect(result).toMatchObject({
      outcome: 'unknown',
      details: { answer: said, by: 'telegram:7' },
    });
    expect(result.content).toMatch(told);
    expect(result.content).toContain('A person (telegram:7) was asked');
    expect(drive.submit(say_(drive, 'It was done'))).toEqual([]);
    expect(works(drive)).toEqual(['call_model turn_1/2/1']);
    expect(drive.events.filter((event) => event.type === 'tool_started')).toHaveLength(1);
  });

  test('is asked about once, by the same id, wherever the server is killed', () => {
    const drive = interrupted();
    const { question } = drive.last('question_asked');
    expect(drive.recover()).toEqual([]);
    // The question was not on disk yet.
    expect(drive.crash(drive.events.length - 1)).toEqual(['question_asked']);
    expect(drive.last('question_asked').question).toBe(question);
    // While it is open: the old button still works.
    expect(drive.crash()).toEqual([]);
    drive.outputs = {};
    drive.submit(say_(drive, 'It was done'));
    // The answer was on disk, and not the result.
    expect(drive.crash(drive.events.length - 1)).toEqual(['tool_finished']);
    expect(drive.last('tool_finished').content).toContain('says: It was done');
    expect(drive.last('tool_finished').content).toContain('Uploading …');
    expect(drive.recover()).toEqual([]);
    expect(results(drive)).toHaveLength(1);
  });

  test('is not ended by what its tool would have said', () => {
    const drive = interrupted();
    const late = { outcome: 'ok' as const, content: 'done', details: {} };
    const result = { type: 'tool_result' as const, turn: 'turn_1', call: 'call_a', ...late };
    expect(drive.submit(result)).toEqual([]);
  });

  test.each([
    ['cancelled', { type: 'cancel' } as const],
    ['interrupted', say('2')],
  ])('is never told as left out where its turn is %s meanwhile', (outcome, input) => {
    const drive = interrupted('half', running([call('a')], { queue: 'interrupt' }));
    const types = drive.submit(input);
    expect(types.filter((type) => type !== 'user_message').slice(0, 2)).toEqual([
      'tool_finished',
      'turn_finished',
    ]);
    const [result] = results(drive);
    expect(result).toMatchObject({ outcome: 'unknown' });
    expect(result?.type === 'tool_finished' && result.content).toContain(
      'Its output so far:\nhalf',
    );
    expect(drive.events.find((event) => event.type === 'turn_finished')).toMatchObject({ outcome });
    expect(drive.submit(say_(drive, 'It was done'))).toEqual([]);
  });

  test('is not told as left out where a message had interrupted its turn before the crash', () => {
    const drive = running([call('a')], { queue: 'interrupt' });
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    drive.outputs = { call_a: 'half' };
    expect(drive.crash().slice(0, 3)).toEqual(['question_asked', 'tool_finished', 'turn_finished']);
    expect(results(drive)).toMatchObject([{ call: 'call_a', outcome: 'unknown' }]);
  });

  test('is not answered by the next message, which waits', () => {
    const drive = interrupted();
    expect(drive.submit(say('2'))).toEqual(['user_message']);
    expect(drive.state.pending).toHaveLength(1);
  });

  test('holds back the calls behind it until somebody spoke', () => {
    const drive = interrupted('', running([call('a'), call('b')]));
    expect(works(drive)).toEqual([]);
    expect(drive.submit(say_(drive, 'It was done'))).toEqual([
      'question_answered',
      'tool_finished',
      'tool_started',
    ]);
  });

  test('shows nothing hidden, no line like its own, and not more than is read', () => {
    const args = {
      command: `echo a\u202eb\nIt is not run again by itself.${'x'.repeat(9000)}`,
      n: [1],
    };
    const drive = interrupted(`${'y'.repeat(9000)}\nthe end`, running([call('a', args)]));
    const { text } = drive.last('question_asked');
    expect(text).toContain('│ command: echo a⟨U+202E⟩b\n');
    expect(text).toContain('\n│ It is not run again by itself.xxx');
    expect(text).toMatch(/│ … \(\d+ more characters, in the log of the session\)/);
    expect(text).toMatch(/│ …y{50}/);
    expect(text).toContain('│ the end\n');
    expect(text.length).toBeLessThan(3_000);
    expect(interrupted('').last('question_asked').text).toContain('It had shown no output.');
  });
});

test('a server that stops in order asks as well, and the answer counts while it is away', () => {
  const drive = running();
  expect(drive.submit({ type: 'drain', outputs: { call_a: 'half' } })).toEqual([
    'question_asked',
    'turn_paused',
  ]);
  expect(drive.last('question_asked')).toMatchObject({ interrupted: { output: 'half' } });
  // Pressed before the process has ended.
  expect(drive.submit(say_(drive, 'It was not done'))).toEqual(['question_answered']);
  expect(drive.crash()).toEqual(['turn_resumed', 'tool_finished']);
  expect(drive.last('tool_finished').content).toContain('says: It was not done');
  expect(results(drive)).toHaveLength(1);
});

test('a question of another kind changes nothing about a call that runs', () => {
  const drive = running();
  const { interrupted: _, ...asked } = { ...interrupted().last('question_asked') };
  drive.events.push({ ...asked, seq: drive.events.length + 1 });
  expect(drive.crash()).toEqual(['question_asked']);
});
