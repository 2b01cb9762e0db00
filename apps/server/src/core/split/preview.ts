import { openLeaf, type Block, type Leaf } from './blocks.ts';
import { expandIndent } from './block-lines.ts';
import { areSame } from './boundary.ts';
import { trimmedEnd } from './characters.ts';
import { PartCutter, type TextLimits } from './cut.ts';
import { lengthOf } from './length.ts';
import { closeInline } from './open-inline.ts';
import { lineAt, readLines, stateAt, type PartLine } from './part-lines.ts';
import { closingOf, widthOf } from './seams.ts';

/** What is shown of a text: `text.slice(0, to) + closing`. */
export interface Preview {
  to: number;
  closing: string;
}

/**
 * What may be shown of a text that is still being written; null: nothing yet. Whatever follows,
 * `to` never becomes less, and is never behind the end of the whole text's first part.
 *
 * Up to half of the limit, before which no part ends, that is all whose form is known. From there
 * it goes from one place between blocks to the next: the part ends at the best of them or later.
 */
export function findPreview(text: string, limits: TextLimits): Preview | null {
  const cutter = new PartCutter(text, limits);
  const found: Preview[] = [closeOpen(text.slice(0, cutter.low))];
  const settled = cutter.settled();
  if (settled !== null) {
    const { to, suffix, isBetween } = settled;
    if (suffix !== '') {
      const lead = suffix.startsWith('\n') ? '' : '\n';
      found.push({ to: trimmedEnd(text, to), closing: lead + suffix });
    } else if (isBetween) found.push({ to: trimmedEnd(text, to), closing: '' });
    else found.push(closeOpen(text.slice(0, to)));
  }
  const fitting = found.filter(({ to, closing }) => {
    return (
      worthShowing.test(text.slice(0, to)) &&
      lengthOf(text.slice(0, to) + closing, limits.unit) <= limits.maxLength
    );
  });
  return fitting.toSorted((a, b) => b.to - a.to)[0] ?? null;
}

const worthShowing = /[^\s>*+\-#=_|`~:.()[\]!<&\\]/;

/**
 * What a line begins is not known when it has only marks; and what is HTML, and then ends what was
 * before, is known when the line is whole.
 */
const unknownMarks = /^(?:[\s>*+\-#=_|`~:]|\d{1,9}[.)]\s)*(?:(?:\d{1,9}[.)]?)?$|<)/;
const delimiter = /^[\s>|:-]*$/;

/** The longest beginning of a text whose form is known, and what closes it. */
function closeOpen(whole: string): Preview {
  // Half a pair, or half a family, may come last.
  let end = whole.length;
  while (end > 0 && /[\ud800-\udbff\u200d]/.test(whole.charAt(end - 1))) end -= 1;
  const text = whole.slice(0, end);
  const all = { from: 0, to: text.length, stop: text.length, prefix: '' };
  const lines = readLines(text, all);
  const last = lines.at(-1);
  if (last === undefined) return { to: 0, closing: '' };
  const growing = last.end === text.length ? last : null;
  let hold = text.length;
  if (growing !== null) hold = holdOfLine(text, growing);
  hold = Math.min(hold, holdOfHead(text, growing === null ? last : lines.at(-2), growing));
  const held = lineAt(lines, hold);
  // With only its indentation a line is not there yet.
  const isBare = held !== undefined && hold < held.end && hold <= held.textAt;
  let state = isBare ? held.before : stateAt(text, lines, hold);
  const { leaf } = openLeaf(state);
  if (leaf.type === 'fence' && leaf.lines === 0) {
    // A fence is shown when there is something in it.
    const opening = lines.find(({ number }) => number === leaf.since);
    hold = opening?.start ?? 0;
    state = opening?.before ?? state;
  }
  const to = trimmedEnd(text, hold);
  const closing = closingOf(state, false);
  if (closing !== '') return { to, closing };
  const written = growing ?? (held !== undefined && hold < held.end ? held : null);
  const at = proseAt(state, written, hold);
  if (at === null || at >= hold) return { to, closing: '' };
  const inline = closeInline(text.slice(at, hold));
  if (inline.end > 0) return { to: at + inline.end, closing: inline.closing };
  // Not even the marks before it: an item with nothing in it.
  return { to: trimmedEnd(text, lineAt(lines, at)?.start ?? 0), closing: '' };
}

/** How much of a line is shown that is not finished: up to where it may become something else. */
function holdOfLine(text: string, line: PartLine): number {
  const content = text.slice(line.start);
  const before = openLeaf(line.before);
  const { leaf } = openLeaf(line.after);
  const within = certainly(text, line);
  if (within === 'fence') {
    const quotes = before.containers.filter(({ type }) => type === 'quote').length;
    // Perhaps its end.
    const isEnd = new RegExp(`^(?:\\s*>){${quotes}}\\s*[\`~]* *$`).test(content);
    return isEnd ? line.start : text.length;
  }
  if (within === 'html') return text.length;
  if (unknownMarks.test(content)) return line.start;
  if (leaf.type === 'fence' && leaf.since === line.number) return line.start;
  if (leaf.type === 'table') return line.start;
  if (leaf.type !== 'paragraph' && leaf.type !== 'none') return text.length;
  // Perhaps the head of a table.
  const pipe = content.indexOf('|');
  return pipe === -1 ? text.length : line.start + pipe;
}

/** The fence or HTML that a line is within for certain: it is so far indented that it does not end an item around it. */
function certainly(text: string, { before, after, start, textAt }: PartLine): Leaf['type'] | null {
  const { containers, leaf } = openLeaf(before);
  const is = openLeaf(after);
  if (leaf.type !== 'fence' && leaf.type !== 'html') return null;
  const isSame = is.leaf.type === leaf.type && is.leaf.since === leaf.since;
  const isEnd = leaf.type === 'html' && is.leaf.type === 'none';
  if (!(isSame || isEnd) || !areSame(is.containers, containers)) return null;
  const lists = containers.filter(({ type }) => type === 'list');
  if (lists.length === 0) return leaf.type;
  const indent = expandIndent(text.slice(start, textAt), 0).length;
  return lists.length === containers.length && indent >= widthOf(containers) ? leaf.type : null;
}

/** The same for the line before: a paragraph's last line becomes the head of a table with the next. */
function holdOfHead(text: string, head: PartLine | undefined, next: PartLine | null): number {
  if (head === undefined || (next !== null && !delimiter.test(text.slice(next.start))))
    return Infinity;
  if (openLeaf(head.after).leaf.type !== 'paragraph') return Infinity;
  const pipe = text.slice(head.start, head.end).indexOf('|');
  return pipe === -1 ? Infinity : head.start + pipe;
}

/** Where the prose begins that is still being written; null: none is. */
function proseAt(state: Block, growing: PartLine | null, hold: number): number | null {
  const { leaf } = openLeaf(state);
  if (leaf.type === 'paragraph') return leaf.at;
  if (growing === null || hold <= growing.textAt) return null;
  if (leaf.type === 'heading') return leaf.since === growing.number ? leaf.at : null;
  // The definition of a link, for now; with more behind it, a paragraph.
  const isNew = leaf.type === 'none' && openLeaf(growing.before).leaf.type !== 'html';
  return isNew ? growing.textAt : null;
}
