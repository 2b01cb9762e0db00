import { expandIndent, htmlEnd, interruptsItem, isTable, patterns } from './block-lines.ts';

/** How a fenced code block was opened. */
export interface Fence {
  /** Its backticks or tildes, as many as were written. */
  marks: string;
  /** What stands after them. */
  info: string;
  /** Columns before them. */
  indent: number;
}

/** Where a text stands, in blocks, after some of its lines. Never changed: `advance` gives the next. */
export type Block =
  | { type: 'none' }
  | { type: 'heading'; since: number; at: number }
  | { type: 'paragraph'; since: number; at: number; line: string }
  | { type: 'code'; since: number }
  | { type: 'html'; since: number; end: RegExp | 'blank' }
  | { type: 'fence'; since: number; fence: Fence; lines: number }
  | { type: 'table'; since: number; head: string; delimiter: string; rows: number }
  | { type: 'quote'; since: number; inner: Block; resumes: boolean }
  | { type: 'list'; since: number; marker: RegExp; item: Item };

export type Container = Block & { type: 'quote' | 'list' };
export type Leaf = Exclude<Block, Container>;

/** The newest item of a list. */
export interface Item {
  since: number;
  /** As it was written, without what surrounds it. */
  bullet: string;
  /** Columns before the bullet, and before the item's content. */
  indent: number;
  offset: number;
  inner: Block;
  /** What the lines before say about a line that is less indented. */
  line: string;
  blank: boolean;
  lazy: boolean;
  lines: number;
}

/** A line as it stands in its text. */
export interface Line {
  /** Its number, counted from the first one that was given. */
  number: number;
  /** Where it ends in the text, its line break not included. */
  end: number;
}

/** Containers within containers that are looked into; what is deeper counts as text. */
const MAX_DEPTH = 16;

const none: Block = { type: 'none' };

/**
 * Reads one more line (without its line break). Agrees with marked about where fences, tables,
 * quotes and list items begin and end, takes time in proportion to the line, and keeps little.
 */
export function advance(block: Block, text: string, line: Line, depth = 0, inItem = false): Block {
  const start = (inParagraph = false): Block =>
    begin(text, line, depth, inItem, inParagraph ? block : none);
  switch (block.type) {
    case 'none':
    case 'heading':
      return start();
    case 'fence':
      if (closesFence(block.fence, text)) return none;
      return { ...block, lines: block.lines + (text.trim() === '' ? 0 : 1) };
    case 'html':
      if (block.end === 'blank') return text.trim() === '' ? none : block;
      return block.end.test(text) ? none : block;
    case 'code':
      return text.trim() === '' || patterns.indented.test(text) ? block : start();
    case 'table':
      if (text.trim() === '' || patterns.endsTable.test(text) || interruptsTable(text)) {
        return start();
      }
      return { ...block, rows: block.rows + 1 };
    case 'paragraph':
      return start(true);
    case 'quote':
      return advanceQuote(block, text, line, depth) ?? start();
    case 'list':
      return advanceList(block, text, line, depth) ?? start();
  }
}

/** The innermost block that is open, and the containers around it, outermost first. */
export function openLeaf(block: Block): { containers: Container[]; leaf: Leaf } {
  const containers: Container[] = [];
  let leaf = block;
  while (leaf.type === 'quote' || leaf.type === 'list') {
    containers.push(leaf);
    leaf = leaf.type === 'quote' ? leaf.inner : leaf.item.inner;
  }
  return { containers, leaf };
}

/** What a line begins where no open block takes it; `before` is the paragraph that it may continue. */
function begin(text: string, line: Line, depth: number, inItem: boolean, before: Block): Block {
  const trimmed = text.trim();
  if (trimmed === '') return none;
  const since = line.number;
  const at = line.end - text.trimStart().length;
  const paragraph = before.type === 'paragraph' ? before : null;
  const prose: Block =
    paragraph === null
      ? { type: 'paragraph', since, at, line: text }
      : { ...paragraph, line: text };
  if (patterns.indented.test(text)) {
    return paragraph === null ? { type: 'code', since } : prose;
  }
  if (paragraph !== null && isTable(paragraph.line, text)) {
    return {
      type: 'table',
      since: line.number - 1,
      head: paragraph.line,
      delimiter: text,
      rows: 0,
    };
  }
  const fence = patterns.fence.exec(text);
  if (fence !== null) {
    const [, marks = '', info = ''] = fence;
    const indent = text.search(/[^ ]/);
    return { type: 'fence', since, fence: { marks, info: info.trimEnd(), indent }, lines: 0 };
  }
  if (paragraph !== null && patterns.underline.test(text)) {
    return { type: 'heading', since: paragraph.since, at: paragraph.at };
  }
  if (patterns.heading.test(text)) return { type: 'heading', since, at };
  if (patterns.rule.test(text)) return none;
  if (depth < MAX_DEPTH && patterns.quote.test(text)) {
    const inner = advance(none, unquote(text), line, depth + 1);
    return { type: 'quote', since, inner, resumes: true };
  }
  const bullet = patterns.bullet.exec(text);
  if (
    bullet !== null &&
    depth < MAX_DEPTH &&
    (paragraph === null || patterns.bulletInProse.test(text))
  ) {
    const [, lead = '', mark = ''] = bullet;
    const marker = mark.length > 1 ? `\\d{1,9}\\${mark.slice(-1)}` : `\\${mark}`;
    return {
      type: 'list',
      since,
      marker: new RegExp(`^ {0,3}${marker}(?:[ \\t]|$)`),
      item: beginItem(text, lead.length, mark, line, depth),
    };
  }
  const end = htmlEnd(text, paragraph !== null && !inItem);
  if (end === 'here') return none;
  if (end !== null) return { type: 'html', since, end };
  if (paragraph === null && patterns.definition.test(text)) return none;
  return prose;
}

function advanceQuote(
  quote: Block & { type: 'quote' },
  text: string,
  line: Line,
  depth: number,
): Block | null {
  if (patterns.quote.test(text)) {
    // A list that a line without its `>` continued is over for marked when the next has one.
    const inner = advance(quote.resumes ? quote.inner : none, unquote(text), line, depth + 1);
    return { ...quote, inner, resumes: true };
  }
  if (text.trim() === '' || interruptsProse(text)) return null;
  const inner = takeLazily(quote.inner, text, line, depth + 1);
  if (inner === null) return null;
  return { ...quote, inner, resumes: quote.inner.type !== 'list' };
}

/** What a line without the marks of its container does to what stands in there; null: it ends the container. */
function takeLazily(inner: Block, text: string, line: Line, depth: number): Block | null {
  if (inner.type === 'paragraph') return { ...inner, line: text };
  if (inner.type === 'list') {
    return takesLine(inner.item, text) ? advanceList(inner, text, line, depth) : null;
  }
  return inner.type === 'quote' ? advanceQuote(inner, text, line, depth) : null;
}

function advanceList(
  list: Block & { type: 'list' },
  text: string,
  line: Line,
  depth: number,
): Block | null {
  const { item } = list;
  if (takesLine(item, text)) return { ...list, item: advanceItem(item, text, line, depth) };
  if (!list.marker.test(text) || patterns.rule.test(text)) return null;
  const [, lead = '', mark = ''] = patterns.bullet.exec(text) ?? [];
  return { ...list, item: beginItem(text, lead.length, mark, line, depth) };
}

function beginItem(text: string, indent: number, bullet: string, line: Line, depth: number): Item {
  const width = indent + bullet.length;
  const rest = expandIndent(text.slice(width), width);
  const spaces = rest.search(/[^ ]/);
  const blank = rest.trim() === '';
  const skipped = blank || spaces > 4 ? 1 : spaces;
  return {
    since: line.number,
    bullet,
    indent,
    offset: width + skipped,
    inner: blank ? none : advance(none, rest.slice(skipped), line, depth + 1, true),
    line: rest,
    blank,
    lazy: false,
    lines: blank ? -1 : 1,
  };
}

function advanceItem(item: Item, text: string, line: Line, depth: number): Item {
  const expanded = expandIndent(text, 0);
  const blank = text.trim() === '';
  const own = blank || expanded.search(/[^ ]/) >= item.offset;
  const content = own
    ? expanded.slice(item.offset)
    : // Not a heading's underline, where it is not indented as the item is.
      patterns.underline.test(text)
      ? `    ${text.trim()}`
      : text;
  return {
    ...item,
    inner: advance(item.inner, content, line, depth + 1, true),
    line: expanded.slice(item.offset),
    blank,
    lazy: !own,
    lines: item.lines === -1 ? (blank ? -2 : 2) : item.lines + 1,
  };
}

/** Whether a line belongs to an item; the rules are those of marked, one by one. */
function takesLine(item: Item, text: string): boolean {
  // It began with an empty line, and another followed.
  if (item.lines === -2) return false;
  if (interruptsItem(text, item.offset)) return false;
  if (text.trim() === '') return true;
  if (expandIndent(text, 0).search(/[^ ]/) >= item.offset) return true;
  if (item.blank) return false;
  let before = item.line;
  if (item.lines === 1 && !before.includes('\t')) {
    while (!patterns.rule.test(before)) {
      const mark = patterns.nestedMark.exec(before);
      if (mark === null) break;
      before = before.slice(mark[0].length);
    }
    if (before.trim() === '') return false;
  }
  const indent = before.replaceAll('\t', '    ').search(/[^ ]/);
  if (indent >= 4 || interruptsItem(before, item.offset, 'before')) return false;
  if (item.lazy) return true;
  const bare = item.line.replace(patterns.nestedMarks, '');
  return !(patterns.fence.test(bare) || patterns.heading.test(bare) || patterns.rule.test(bare));
}

function closesFence(fence: Fence, text: string): boolean {
  const closing = patterns.fenceEnd.exec(text)?.[1];
  return (
    closing !== undefined && closing[0] === fence.marks[0] && closing.length >= fence.marks.length
  );
}

/** Whether a line cannot continue a paragraph of a quote. */
function interruptsProse(text: string): boolean {
  return (
    patterns.rule.test(text) ||
    patterns.heading.test(text) ||
    patterns.fence.test(text) ||
    patterns.bullet.test(text) ||
    patterns.htmlInProse.test(text)
  );
}

function interruptsTable(text: string): boolean {
  return patterns.fence.test(text) || patterns.rule.test(text) || patterns.htmlInProse.test(text);
}

function unquote(text: string): string {
  const marker = patterns.quoteMark.exec(text)?.[0] ?? '';
  const tab = /^( {0,3}>)(\t[ \t]*)/.exec(text);
  if (tab === null) return text.slice(marker.length);
  const [whole, mark = ''] = tab;
  return expandIndent(text.slice(mark.length), mark.length).slice(1) || text.slice(whole.length);
}
