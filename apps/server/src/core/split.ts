import { PartCutter, type TextLimits } from './split/cut.ts';
import { lengthOf } from './split/length.ts';
import { findPreview } from './split/preview.ts';

export { lengthOf };
export type { TextLimits };

/** A part of a text as it is sent: `prefix + text.slice(from, to) + suffix`. */
export interface MessagePart {
  prefix: string;
  from: number;
  to: number;
  suffix: string;
}

/**
 * Cuts a text into parts that a platform takes, each of which reads well by itself.
 *
 * The bodies joined are the text. A prefix or suffix is not empty only where a cut went through a
 * fence, a table or a nested item: it closes the fence, and opens it again with its info string,
 * repeats the table's head, or the item's bullets. With them no part is longer than the limit, and
 * all but the last are at least half full. It cuts between blocks where it can, then between
 * items, rows and lines of code, then between sentences, then words; and never through a
 * character, a link or a piece of code while there is another place. A text that fits is one part
 * as it is; an empty one has none. A part is white space only where the text has a run of it that
 * is longer than half of the limit.
 */
export function splitMessage(text: string, limits: TextLimits): MessagePart[] {
  if (text !== '' && lengthOf(text, limits.unit) <= limits.maxLength) {
    return [{ prefix: '', from: 0, to: text.length, suffix: '' }];
  }
  const parts: MessagePart[] = [];
  let from = 0;
  let prefix = '';
  while (from < text.length) {
    const cutter = new PartCutter(text, limits, from, prefix);
    if (cutter.isLast) {
      const suffix = from === 0 ? '' : cutter.suffixAt(text.length);
      if (cutter.fits(text.length, suffix)) {
        parts.push({ prefix, from, to: text.length, suffix });
        break;
      }
    }
    const { to, suffix, next } = cutter.cut();
    parts.push({ prefix, from, to, suffix });
    from = to;
    prefix = next;
  }
  return parts;
}

/**
 * What may be shown of a text that is still being written: a beginning of it, and what closes its
 * fence, code and emphasis; a table row is shown when it is whole. Null: nothing worth showing yet.
 *
 * While the text grows, what is shown of it grows too, or stays. It is never longer than the
 * limit, and never shows what will not be in the first part of the whole text.
 */
export function previewOf(textSoFar: string, limits: TextLimits): string | null {
  const found = findPreview(textSoFar, limits);
  return found === null ? null : textSoFar.slice(0, found.to) + found.closing;
}

/** As `previewOf`, but for the last word of that: it is never all of the first part. */
export function partialPreviewOf(textSoFar: string, limits: TextLimits): string | null {
  const found = findPreview(textSoFar, limits);
  return found === null ? null : previewOf(withoutLastWord(textSoFar.slice(0, found.to)), limits);
}

function withoutLastWord(text: string): string {
  const trimmed = text.trimEnd();
  return trimmed.slice(0, Math.max(trimmed.lastIndexOf(' '), trimmed.lastIndexOf('\n'), 0));
}
