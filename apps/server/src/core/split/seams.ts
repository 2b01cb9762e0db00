import { openLeaf, type Block, type Container } from './blocks.ts';

/** What closes the fence that is open at the end of a body; empty where none is. */
export function closingOf(block: Block, endsLine: boolean): string {
  const { containers, leaf } = openLeaf(block);
  if (leaf.type !== 'fence') return '';
  return `${endsLine ? '' : '\n'}${continuedHere(containers)}${leaf.fence.marks}`;
}

/**
 * What a body begins with that was cut within a fence or a table: the same fence, or the head of
 * the table; shorter, or nothing, where it does not fit.
 */
export function reopeningOf(
  block: Block,
  next: 'line' | 'rest' | 'break',
  fits: (prefix: string) => boolean,
): string {
  const { containers, leaf } = openLeaf(block);
  const tries: string[] = [];
  if (leaf.type === 'fence') {
    const { marks, info, indent } = leaf.fence;
    const isFlat = isNear(containers, indent);
    const lead = isFlat ? ' '.repeat(widthOf(containers) + indent) : opened(containers, false);
    const rest = isFlat || next !== 'rest' ? '' : continued(containers, true);
    for (const line of [marks + info, marks, marks.slice(0, 3)]) {
      tries.push(`${lead}${line}\n${rest}`);
    }
  } else if (leaf.type === 'table') {
    const isFlat = isNear(containers, 0);
    const lead = isFlat ? '' : opened(containers, true);
    const inner = isFlat ? '' : continued(containers, true);
    const rest = next === 'rest' ? inner : '';
    tries.push(`${lead}${leaf.head.trim()}\n${inner}${leaf.delimiter.trim()}\n${rest}`);
  }
  const prefix = tries.find(fits) ?? '';
  return next === 'break' ? prefix.slice(0, -1) : prefix;
}

/** The bullets of the items that a line goes on with, before a body that begins in the middle of them. */
export function itemHead(containers: Container[]): string {
  return opened(containers, true);
}

/** Whether blocks in these items read the same without them: nothing is so far indented that it looks like code. */
function isNear(containers: Container[], indent: number): boolean {
  return containers.every(({ type }) => type === 'list') && widthOf(containers) + indent < 4;
}

/** The columns that the items among them take from each line. */
export function widthOf(containers: Container[]): number {
  let width = 0;
  for (const container of containers) if (container.type === 'list') width += container.item.offset;
  return width;
}

/** The marks that open containers anew, on one line and in the columns where they stood. */
function opened(containers: Container[], beforeText: boolean): string {
  return joined(containers, beforeText, ({ indent, bullet, offset }) =>
    `${' '.repeat(indent)}${bullet}`.padEnd(offset),
  );
}

/** What a further line begins with to be within containers. */
function continued(containers: Container[], beforeText: boolean): string {
  return joined(containers, beforeText, ({ offset }) => ' '.repeat(offset));
}

/** The same where the line before lacked the mark of its quote: for marked only a line without it goes on in the items there. */
function continuedHere(containers: Container[]): string {
  const index = containers.findIndex(
    (container) => container.type === 'quote' && !container.resumes,
  );
  if (index === -1) return continued(containers, false);
  const width = widthOf(containers.slice(index + 1));
  return continued(containers.slice(0, index), true) + ' '.repeat(Math.max(4, width));
}

function joined(
  containers: Container[],
  beforeText: boolean,
  mark: (item: (Container & { type: 'list' })['item']) => string,
): string {
  let text = '';
  for (const [index, container] of containers.entries()) {
    if (container.type === 'list') text += mark(container.item);
    else {
      // The space after `>` is part of the mark where one follows.
      const next = containers[index + 1];
      const spaced = next === undefined ? beforeText : next.type === 'list';
      text += spaced ? '> ' : '>';
    }
  }
  return text;
}
