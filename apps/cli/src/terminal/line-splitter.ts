/** A line without an end is cut about here, so that what is not finished stays small. In UTF-16 units. */
export const MAX_LINE = 2000;

export interface RawLine {
  text: string;
  /** Whether the line goes on in the next one: it was too long. */
  cut: boolean;
}

/** Cuts streamed text into lines of at most `MAX_LINE`, tabs as spaces; how the text arrives makes no difference. */
export class LineSplitter {
  /** The beginning of the line that has not ended. */
  rest = '';

  push(text: string): RawLine[] {
    const source = this.rest + text.replaceAll('\t', '    ');
    const lines: RawLine[] = [];
    let start = 0;
    for (;;) {
      const end = source.indexOf('\n', start);
      if ((end === -1 ? source.length : end) - start > MAX_LINE) {
        const at = start + cutPoint(source.slice(start, start + MAX_LINE));
        lines.push({ text: source.slice(start, at), cut: true });
        start = at;
      } else if (end === -1) {
        this.rest = source.slice(start);
        return lines;
      } else {
        lines.push({ text: source.slice(start, end), cut: false });
        start = end + 1;
      }
    }
  }

  /** The last line, if it has anything. */
  end(): RawLine[] {
    const text = this.rest;
    this.rest = '';
    return text === '' ? [] : [{ text, cut: false }];
  }
}

/** Behind the last space of the second half; else at the end, but never within a surrogate pair. */
function cutPoint(head: string): number {
  const space = head.lastIndexOf(' ');
  if (space >= MAX_LINE / 2) return space + 1;
  const last = head.charCodeAt(head.length - 1);
  return last >= 0xd800 && last <= 0xdbff ? head.length - 1 : head.length;
}
