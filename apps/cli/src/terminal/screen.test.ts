import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeTerminal } from './fake-terminal.ts';
import { LineEditor } from './line-editor.ts';
import { Screen } from './screen.ts';
import { line } from './text-line.ts';
import { TtyStage } from './tty-stage.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp(columns = 40, rows = 12) {
  const terminal = new FakeTerminal(columns, rows);
  const editor = new LineEditor();
  const screen = new Screen(terminal.asStream(), {
    color: false,
    drawInput: (size) => editor.draw(size),
  });
  const type = (text: string): void => {
    for (const char of text) editor.press(char, { name: char });
    screen.touch();
  };
  const draw = (): void => void vi.advanceTimersByTime(100);
  return { terminal, editor, screen, type, draw };
}

describe('Screen', () => {
  it('keeps what is typed under what is printed', () => {
    const { terminal, screen, type, draw } = setUp();
    type('hello');
    draw();
    screen.print([line('first')]);
    draw();
    type(' you');
    screen.print([line('second')]);
    draw();
    expect(terminal.text).toBe('first\nsecond\n\n› hello you');
    expect(terminal.cursor).toEqual({ row: 3, column: 11 });
  });

  it('replaces the line that is being written by what it became', () => {
    const { terminal, screen, draw } = setUp();
    screen.setLive(line('a long line that is not finished and takes more than one row'));
    screen.setStatus(line('working'));
    draw();
    expect(terminal.text).toBe(
      'a long line that is not finished and\ntakes more than one row\n\nworking\n›',
    );
    screen.print([line('done')]);
    screen.setLive(null);
    screen.setStatus(null);
    draw();
    expect(terminal.text).toBe('done\n\n›');
  });

  it('shows the end of a line that is higher than the screen, and all of it when it is finished', () => {
    const { terminal, screen, draw } = setUp(20, 8);
    const text = Array.from({ length: 60 }, (_, index) => `word${index}`).join(' ');
    for (let length = 10; length < text.length; length += 10) {
      screen.setLive(line(text.slice(0, length)));
      draw();
    }
    expect(terminal.lines.length).toBeLessThanOrEqual(8);
    screen.setLive(null);
    screen.print([line(text)]);
    screen.close();
    expect(terminal.text.replaceAll('\n', ' ')).toBe(text);
  });

  it('leaves nothing of the input behind when it closes', () => {
    const { terminal, screen, type, draw } = setUp();
    type('half a message');
    screen.setLive(line('half an answer'));
    draw();
    screen.print([line('last words')]);
    screen.close();
    expect(terminal.text).toBe('last words');
    screen.print([line('too late')]);
    draw();
    expect(terminal.text).toBe('last words');
  });

  it('finds its rows again after the terminal got narrower and broke them', () => {
    const { terminal, screen, type, draw } = setUp(40, 12);
    screen.print([line('above')]);
    type('x'.repeat(30));
    draw();
    // What a terminal does: 'above', an empty row, and 32 columns of input in two rows of 20.
    terminal.columns = 20;
    terminal.lines.splice(0, 3, 'above', '', `› ${'x'.repeat(18)}`, 'x'.repeat(12));
    terminal.write('\n');
    terminal.write('\r\x1b[12C');
    terminal.emit('resize');
    draw();
    expect(terminal.text).toBe(`above\n\n› ${'x'.repeat(17)}\n  ${'x'.repeat(13)}`);
  });

  it('shows each line of an answer once, however it is cut and whatever is typed meanwhile', () => {
    const answer =
      '# Title\n\nA paragraph of **many** words that wraps on a narrow screen.\n- one\n- two\n```\ncode\n```\nend';
    const show = (cuts: number[], typed: string): string => {
      const { terminal, screen, type, draw } = setUp(24, 10);
      const stage = new TtyStage(screen);
      stage.begin('answer');
      let from = 0;
      for (const to of [...cuts, answer.length]) {
        stage.text(answer.slice(from, to));
        type(typed.charAt(from % (typed.length || 1)));
        draw();
        from = to;
      }
      stage.finish();
      screen.close();
      return terminal.text;
    };
    const whole = show([], '');
    expect(whole).toContain('A paragraph of many');
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: answer.length - 1 }), { maxLength: 30 });
    fc.assert(
      fc.property(
        cuts,
        fc.string({ unit: fc.constantFrom('a', ' ', 'ü'), maxLength: 8 }),
        (points, typed) => {
          expect(
            show(
              points.toSorted((a, b) => a - b),
              typed,
            ),
          ).toBe(whole);
        },
      ),
      { numRuns: 60 },
    );
  });
});
