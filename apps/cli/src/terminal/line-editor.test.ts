import type { Key } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { LineEditor, MAX_INPUT, type EditorAction } from './line-editor.ts';

const ctrl = (name: string): Key => ({ name, ctrl: true });
const meta = (name: string): Key => ({ name, meta: true });

function type(editor: LineEditor, ...keys: (string | Key)[]): EditorAction | null {
  let last: EditorAction | null = null;
  for (const key of keys) {
    if (typeof key !== 'string') last = editor.press(undefined, key);
    else for (const char of key) last = editor.press(char, { name: char });
  }
  return last;
}

function rows(editor: LineEditor, columns: number, height = 10): string[] {
  return editor
    .draw({ columns, rows: height })
    .rows.map((row) => row.map((span) => span.text).join(''));
}

describe('LineEditor', () => {
  it('submits what was typed, once, and is empty then', () => {
    const editor = new LineEditor();
    expect(type(editor, 'hello', { name: 'return' })).toEqual({ type: 'submit', text: 'hello' });
    expect(editor.text).toBe('');
    expect(type(editor, { name: 'return' })).toBeNull();
    expect(type(editor, '   ', { name: 'return' })).toBeNull();
  });

  it('edits in the middle, by characters as people see them', () => {
    const editor = new LineEditor();
    type(editor, 'a👩‍👩‍👧b', { name: 'left' }, { name: 'backspace' });
    expect(editor.text).toBe('ab');
    type(editor, { name: 'home' }, { name: 'delete' }, { name: 'end' }, 'c');
    expect(editor.text).toBe('bc');
  });

  it('knows the keys of shells', () => {
    const editor = new LineEditor();
    type(editor, 'one two three', ctrl('w'));
    expect(editor.text).toBe('one two ');
    type(editor, ctrl('a'), ctrl('f'), ctrl('k'));
    expect(editor.text).toBe('o');
    type(editor, 'ne two', meta('b'), 'X', ctrl('e'), ctrl('u'));
    expect(editor.text).toBe('');
  });

  it('takes new lines by Alt-Enter and Ctrl-J, and moves between them', () => {
    const editor = new LineEditor();
    type(
      editor,
      'one',
      meta('return'),
      'two',
      { name: 'enter' },
      'x',
      { name: 'up' },
      { name: 'up' },
      '!',
    );
    expect(editor.text).toBe('o!ne\ntwo\nx');
    expect(type(editor, { name: 'return' })).toEqual({ type: 'submit', text: 'o!ne\ntwo\nx' });
  });

  it('brings earlier messages back, and the unfinished one after them', () => {
    const editor = new LineEditor();
    type(editor, 'one', { name: 'return' }, 'two', { name: 'return' }, 'half');
    type(editor, { name: 'up' }, { name: 'up' });
    expect(editor.text).toBe('one');
    type(editor, { name: 'up' }, { name: 'down' });
    expect(editor.text).toBe('two');
    type(editor, { name: 'down' });
    expect(editor.text).toBe('half');
  });

  it('never submits what is pasted, whatever its line ends are', () => {
    const editor = new LineEditor();
    type(editor, { name: 'paste-start' }, 'a');
    for (const [char, name] of [
      ['\r', 'return'],
      ['\n', 'enter'],
      ['b', 'b'],
      ['\r', 'return'],
      ['c', 'c'],
      ['\x03', 'c'],
    ] as const) {
      expect(editor.press(char, { name, ctrl: char === '\x03' })).toBeNull();
    }
    type(editor, { name: 'paste-end' });
    expect(editor.text).toBe('a\nb\nc');
  });

  it('takes no control characters, and no more than it can send', () => {
    const editor = new LineEditor();
    type(editor, { name: 'paste-start' });
    editor.press('\x1b]0;title\x07', {});
    editor.press('x'.repeat(MAX_INPUT - 20), {});
    type(editor, { name: 'paste-end' }, 'y'.repeat(30));
    expect(editor.text).toMatch(/^x+y{20}$/);
  });

  it.each([
    [ctrl('c'), 'interrupt'],
    [ctrl('l'), 'clear'],
    [ctrl('z'), 'suspend'],
    [ctrl('d'), 'leave'],
  ])('asks for what %j means', (key, action) => {
    expect(new LineEditor().press(undefined, key)).toEqual({ type: action });
  });

  it('deletes by Ctrl-D while there is text', () => {
    const editor = new LineEditor();
    expect(type(editor, 'ab', ctrl('a'), ctrl('d'))).toBeNull();
    expect(editor.text).toBe('b');
  });

  it('wraps what is wider than the screen, and keeps the cursor within it', () => {
    const editor = new LineEditor();
    type(editor, 'abcdef');
    expect(rows(editor, 8)).toEqual(['› abcdef', '  ']);
    expect(editor.draw({ columns: 8, rows: 5 }).cursor).toEqual({ row: 1, column: 2 });
    type(editor, '日本語');
    expect(rows(editor, 7)).toEqual(['› abcde', '  f日本', '  語']);
  });

  it('shows the rows around the cursor when there is no room for all', () => {
    const editor = new LineEditor();
    for (let index = 0; index < 30; index += 1) type(editor, `line${index}`, { name: 'enter' });
    expect(rows(editor, 40, 3)).toEqual(['  line28', '  line29', '  ']);
    for (let index = 0; index < 30; index += 1) type(editor, { name: 'up' });
    const view = editor.draw({ columns: 40, rows: 3 });
    expect(view.cursor.row).toBeLessThan(3);
    expect(view.rows[view.cursor.row]?.map((span) => span.text).join('')).toContain('line0');
  });
});
