import { describe, expect, test } from 'vitest';
import { isKey } from './keys.ts';
import { LineWatch } from './line-watch.ts';
import {
  isUnsettled,
  processIdOf,
  processRecordSchema,
  recordsToDrop,
  type ProcessRecord,
} from './process-record.ts';
import { printedLines, terminalText } from './terminal-text.ts';

function record(n: number, change: Partial<ProcessRecord> = {}): ProcessRecord {
  return {
    id: `proc_${String(n).padStart(26, '0')}`,
    session: 's',
    agent: 'a',
    call: 'c',
    command: 'sleep 1',
    name: null,
    interactive: false,
    started_at: '2026-01-01T00:00:00.000Z',
    state: 'exited',
    pid: 1,
    birth: null,
    ended_at: `2026-01-01T00:${String(n).padStart(2, '0')}:00.000Z`,
    exit_code: 0,
    signal: null,
    fault: null,
    told: true,
    watches: [],
    ...change,
  };
}

describe('a record', () => {
  test('is named by its call', () => {
    const id = processIdOf('call_01jz8q6v5w3xk2m4n6p8r0s2t4');
    expect(id).toBe('proc_01jz8q6v5w3xk2m4n6p8r0s2t4');
    expect(processRecordSchema.safeParse(record(1, { id })).success).toBe(true);
  });

  test.each([
    ['is over and told', {}, false],
    ['runs', { state: 'running' as const }, true],
    ['may run', { state: 'starting' as const }, true],
    ['was not told', { told: false }, true],
    [
      'has a line that was not told',
      { watches: [{ n: 1, text: 'x', from: 0, line: 'x', told: false }] },
      true,
    ],
    [
      'has a line that never came',
      { watches: [{ n: 1, text: 'x', from: 0, line: null, told: false }] },
      false,
    ],
  ])('that %s is unsettled: %j %s', (_, change, isIt) => {
    expect(isUnsettled(record(1, change))).toBe(isIt);
  });

  test('goes when there are too many: first what ended first, last what was not told, never what runs', () => {
    const records = [
      record(1, { told: false }),
      record(4),
      record(2),
      record(3, { state: 'running', ended_at: null }),
    ];
    const dropped = (max: number): number[] =>
      recordsToDrop(records, max).map((id) => Number(id.slice(5)));
    expect(dropped(4)).toEqual([]);
    expect(dropped(3)).toEqual([2]);
    expect(dropped(2)).toEqual([2, 4]);
    expect(dropped(0)).toEqual([2, 4, 1]);
  });
});

describe('what a program printed', () => {
  test.each([
    ['plain\ttext\n', 'plain\ttext\n'],
    ['\x1b[1;31mred\x1b[0m', 'red'],
    ['\x1b]0;title\x07after', 'after'],
    ['\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\', 'link'],
    ['\x1bPdata\x1b\\x', 'x'],
    ['\x1b(Bx\x1b=y', 'xy'],
    ['\x1b[?2004hx', 'x'],
    ['unfinished \x1b[12', 'unfinished '],
    ['unfinished \x1b]0;title\nnext', 'unfinished \nnext'],
    ['\x1b', ''],
    ['10%\r50%\r100%\ndone\r\n', '100%\ndone\n'],
    ['a\x08\x07\x7f\x9bb', 'ab'],
    ['evil\u202etxt', 'eviltxt'],
    ['\x1b[31\x1b[32mx', 'x'],
  ])('%j is the text %j', (printed, text) => {
    expect(terminalText(printed)).toBe(text);
  });

  test('is read in time that grows with its length only', () => {
    const printed = '\x1b[1'.repeat(300_000);
    expect(terminalText(printed)).toBe('');
    expect(terminalText('\x1b]'.repeat(300_000))).toBe('');
  });

  test('has lines, also those written over', () => {
    expect(printedLines('a\rb\r\n\x1b[1mc\n')).toEqual(['a', 'b', 'c', '']);
  });
});

describe('a watch', () => {
  test('finds a text in a line that comes in pieces, and in one that has not ended', () => {
    const watch = new LineWatch();
    expect(watch.take('starting\nlist', ['ready', 'listening'])).toEqual(new Map());
    expect(watch.take('ening on \x1b[1m80', ['ready', 'listening'])).toEqual(
      new Map([['listening', 'listening on 80']]),
    );
    expect(watch.take('80\nrea', ['ready'])).toEqual(new Map());
    expect(watch.take('\ndy', ['ready'])).toEqual(new Map());
  });

  test('does not take what was printed before it', () => {
    const watch = new LineWatch();
    watch.take('rea', ['x']);
    watch.forget();
    expect(watch.take('dy', ['ready'])).toEqual(new Map());
  });

  test('remembers only the end of a line without end, and tells a part of it', () => {
    const watch = new LineWatch();
    watch.take(`needle${'x'.repeat(10_000)}`, []);
    expect(watch.take('y', ['needle']).size).toBe(0);
    const line = watch.take(`${'z'.repeat(5000)}here${'z'.repeat(5000)}`, ['here']).get('here');
    expect(line).toHaveLength(1000);
    expect(line).toContain('here');
  });
});

test.each([
  ['Enter', true],
  ['C-c', true],
  ['M-x', true],
  ['F12', true],
  ['F13', false],
  ['C-;', false],
  ['enter', false],
  [';', false],
  ['-t', false],
  ['Enter\n', false],
])('%j is a key: %s', (text, isIt) => {
  expect(isKey(text)).toBe(isIt);
});
