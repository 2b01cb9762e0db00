import type { Key } from 'node:readline';
import type { InputView } from './screen.ts';
import { sanitize } from './sanitize.ts';
import { span, type Span } from './text-line.ts';
import { charWidth } from './width.ts';

/** What a key asks of the program. Keys that only edit ask nothing. */
export type EditorAction =
  { type: 'submit'; text: string } | { type: 'interrupt' | 'leave' | 'clear' | 'suspend' };

/** The longest message that can be typed or pasted, in UTF-16 units. */
export const MAX_INPUT = 256 * 1024;
const MAX_HISTORY = 200;
const MAX_ROWS = 10;
const PROMPT = '› ';

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/**
 * A small editor for messages of one or many lines, as shells have taught hands: arrows, Home, End,
 * Ctrl-A E B F K U W L, Alt-B F, history by up and down, Alt-Enter or Ctrl-J for a new line, and
 * paste that never submits.
 */
export class LineEditor {
  #text = '';
  #cursor = 0;
  #history: string[] = [];
  /** Where in the history the text is from; its length: it is new. */
  #at = 0;
  #draft = '';
  #paste: string[] | null = null;
  #pasted = 0;

  get text(): string {
    return this.#text;
  }

  /** Takes one key press. @returns what the program has to do about it */
  press(text: string | undefined, key: Key): EditorAction | null {
    if (this.#paste !== null) return this.#pressInPaste(text, key);
    if (key.name === 'paste-start') {
      this.#paste = [];
      this.#pasted = 0;
      return null;
    }
    if (key.ctrl === true) return this.#pressCtrl(key);
    if (key.meta === true) return this.#pressMeta(key);
    switch (key.name) {
      case 'return':
        return this.#submit();
      case 'enter':
        return this.#insert('\n');
      case 'backspace':
        return this.#delete(this.#previous(), this.#cursor);
      case 'delete':
        return this.#delete(this.#cursor, this.#next());
      case 'left':
        return this.#move(this.#previous());
      case 'right':
        return this.#move(this.#next());
      case 'home':
        return this.#move(this.#lineStart());
      case 'end':
        return this.#move(this.#lineEnd());
      case 'up':
        return this.#up();
      case 'down':
        return this.#down();
      case 'tab':
        return this.#insert('    ');
      case undefined:
      default:
        return text === undefined ? null : this.#insert(sanitize(text));
    }
  }

  /** Empties the input. */
  reset(): void {
    this.#text = '';
    this.#cursor = 0;
    this.#at = this.#history.length;
  }

  /** The input in at most `rows` rows around the cursor. */
  draw(size: { columns: number; rows: number }): InputView {
    const rows: Span[][] = [[span(PROMPT, 'bold', 'cyan')]];
    let width = PROMPT.length;
    let cursor = { row: 0, column: width };
    let piece = '';
    const endRow = (): void => {
      rows.at(-1)?.push(span(piece));
      piece = '';
      rows.push([span(' '.repeat(PROMPT.length))]);
      width = PROMPT.length;
    };
    let at = 0;
    for (const char of this.#text) {
      const next = charWidth(char);
      if (char !== '\n' && width + next > size.columns) endRow();
      if (at === this.#cursor) cursor = { row: rows.length - 1, column: width };
      at += char.length;
      if (char === '\n') endRow();
      else {
        piece += char;
        width += next;
      }
    }
    if (at === this.#cursor) {
      if (width >= size.columns) endRow();
      cursor = { row: rows.length - 1, column: width };
    }
    rows.at(-1)?.push(span(piece));
    const room = Math.max(1, Math.min(MAX_ROWS, size.rows));
    const from = Math.max(0, Math.min(cursor.row - room + 1, rows.length - room));
    const top = cursor.row < from ? cursor.row : from;
    return { rows: rows.slice(top, top + room), cursor: { ...cursor, row: cursor.row - top } };
  }

  #pressInPaste(text: string | undefined, key: Key): null {
    const piece = text ?? '';
    if (key.name !== 'paste-end') {
      this.#pasted += piece.length;
      if (this.#pasted <= MAX_INPUT) this.#paste?.push(piece);
      return null;
    }
    // Terminals send the line ends of a paste as CR, LF or CR LF.
    const lines = (this.#paste ?? []).join('').replace(/\r\n?/g, '\n');
    const pasted = sanitize(lines).replaceAll('\t', '    ');
    this.#paste = null;
    return this.#insert(pasted);
  }

  #pressCtrl(key: Key): EditorAction | null {
    switch (key.name) {
      case 'c':
        return { type: 'interrupt' };
      case 'd':
        return this.#text === '' ? { type: 'leave' } : this.#delete(this.#cursor, this.#next());
      case 'l':
        return { type: 'clear' };
      case 'z':
        return { type: 'suspend' };
      case 'a':
        return this.#move(this.#lineStart());
      case 'e':
        return this.#move(this.#lineEnd());
      case 'b':
        return this.#move(this.#previous());
      case 'f':
        return this.#move(this.#next());
      case 'h':
        return this.#delete(this.#previous(), this.#cursor);
      case 'k':
        return this.#delete(this.#cursor, this.#lineEnd());
      case 'u':
        return this.#delete(this.#lineStart(), this.#cursor);
      case 'w':
        return this.#delete(this.#wordStart(), this.#cursor);
      case 'p':
        return this.#up();
      case 'n':
        return this.#down();
      case 'j':
        return this.#insert('\n');
      case 'left':
        return this.#move(this.#wordStart());
      case 'right':
        return this.#move(this.#wordEnd());
      default:
        return null;
    }
  }

  #pressMeta(key: Key): null {
    switch (key.name) {
      case 'return':
      case 'enter':
        return this.#insert('\n');
      case 'b':
      case 'left':
        return this.#move(this.#wordStart());
      case 'f':
      case 'right':
        return this.#move(this.#wordEnd());
      case 'd':
        return this.#delete(this.#cursor, this.#wordEnd());
      case 'backspace':
        return this.#delete(this.#wordStart(), this.#cursor);
      default:
        return null;
    }
  }

  #submit(): EditorAction | null {
    const text = this.#text;
    if (text.trim() === '') {
      this.reset();
      return null;
    }
    if (this.#history.at(-1) !== text) this.#history.push(text);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    this.#draft = '';
    this.reset();
    return { type: 'submit', text };
  }

  #insert(text: string): null {
    const room = MAX_INPUT - this.#text.length;
    const piece = text.slice(0, Math.max(0, room));
    this.#text = this.#text.slice(0, this.#cursor) + piece + this.#text.slice(this.#cursor);
    return this.#move(this.#cursor + piece.length);
  }

  #delete(from: number, to: number): null {
    this.#text = this.#text.slice(0, from) + this.#text.slice(to);
    return this.#move(from);
  }

  #move(to: number): null {
    this.#cursor = to;
    return null;
  }

  #previous(): number {
    const start = this.#lineStart();
    if (start === this.#cursor) return Math.max(0, this.#cursor - 1);
    let last = start;
    for (const { index } of graphemes.segment(this.#text.slice(start, this.#cursor)))
      last = start + index;
    return last;
  }

  #next(): number {
    const [first] = graphemes.segment(this.#text.slice(this.#cursor, this.#cursor + 64));
    return this.#cursor + (first?.segment.length ?? 0);
  }

  #lineStart(): number {
    return this.#cursor === 0 ? 0 : this.#text.lastIndexOf('\n', this.#cursor - 1) + 1;
  }

  #lineEnd(): number {
    const end = this.#text.indexOf('\n', this.#cursor);
    return end === -1 ? this.#text.length : end;
  }

  #wordStart(): number {
    const before = this.#text.slice(0, this.#cursor).trimEnd();
    return Math.max(before.lastIndexOf(' '), before.lastIndexOf('\n')) + 1;
  }

  #wordEnd(): number {
    const after = this.#text.slice(this.#cursor);
    const word = /^\s*\S*/.exec(after);
    return this.#cursor + (word?.[0].length ?? 0);
  }

  /** A line up; on the first one, the message before. */
  #up(): null {
    const start = this.#lineStart();
    if (start > 0) {
      const above = this.#text.lastIndexOf('\n', start - 2) + 1;
      return this.#move(Math.min(above + (this.#cursor - start), start - 1));
    }
    return this.#recall(this.#at - 1);
  }

  #down(): null {
    const end = this.#lineEnd();
    if (end < this.#text.length) {
      const below = this.#text.indexOf('\n', end + 1);
      const last = below === -1 ? this.#text.length : below;
      return this.#move(Math.min(end + 1 + (this.#cursor - this.#lineStart()), last));
    }
    return this.#recall(this.#at + 1);
  }

  #recall(at: number): null {
    if (at < 0 || at > this.#history.length) return null;
    if (this.#at === this.#history.length) this.#draft = this.#text;
    this.#at = at;
    this.#text = this.#history[at] ?? this.#draft;
    return this.#move(this.#text.length);
  }
}
