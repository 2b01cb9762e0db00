import { cutRow, span } from './text-line.ts';
import { textWidth } from './width.ts';

/** Rows in columns two spaces apart; with `columns`, each row is cut to the width of the screen. The cells must be sanitized. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | null,
): string {
  const all = [head, ...rows];
  const widths = head.map((_, index) => Math.max(...all.map((row) => textWidth(row[index] ?? ''))));
  return all
    .map((row) => {
      const cells = row.map(
        (cell, index) => cell + ' '.repeat((widths[index] ?? 0) - textWidth(cell)),
      );
      const text = cells.join('  ').trimEnd();
      const [first = []] = columns === null ? [[span(text)]] : cutRow([span(text)], columns);
      return `${first.map((part) => part.text).join('')}\n`;
    })
    .join('');
}
