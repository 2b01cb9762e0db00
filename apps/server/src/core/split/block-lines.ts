const htmlTags =
  'address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|meta|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul';

/** What begins or ends a block, for one line without its line break. */
export const patterns = {
  indented: /^(?: {4}| {0,3}\t)/,
  fence: /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/s,
  fenceEnd: /^ {0,3}(`{3,}|~{3,}) *$/,
  heading: /^ {0,3}#{1,6}(?:\s|$)/,
  underline: /^ {0,3}(?:=+|-+)[ \t]*$/,
  rule: /^ {0,3}(?:-[ \t]*(?:-[ \t]*){2,}|_[ \t]*(?:_[ \t]*){2,}|\*[ \t]*(?:\*[ \t]*){2,})$/,
  quote: /^ {0,3}>/,
  quoteMark: /^ {0,3}>[ \t]?/,
  bullet: /^( {0,3})([*+-]|\d{1,9}[.)])(?=[ \t]|$)/,
  /** In a paragraph an empty item, or one with another number than 1, is text. */
  bulletInProse: /^ {0,3}(?:[*+-]|1[.)])[ \t]+[^ \t]/,
  nestedMark: /^ {0,3}(?:(?:[*+-]|\d{1,9}[.)])(?: |$)|> ?)/,
  nestedMarks: /^(?: {0,3}(?:(?:[*+-]|\d{1,9}[.)])[ \t]+|>[ \t]?))+/,
  /** With fences, rules and HTML. */
  endsTable: /^(?: {0,3}(?:#{1,6}(?:\s|$)|>|(?:[*+-]|1[.)])[ \t])|(?: {4}| {0,3}\t)[^\n])/,
  /** Of a link, `[label]: address "title"`. */
  definition:
    /^ {0,3}\[(?!\s*\])(?:\\.|[^[\]\\])+\]: *(?:[^<\s]\S*|<[^<>]*>)(?: +(?:"[^"]*"|'[^']*'|\([^()]*\)))? *$/,
  htmlInProse: new RegExp(
    `^ {0,3}(?:</?(?:${htmlTags})(?:[ \\t]+|$|/?>)|<(?:(?:script|pre|style|textarea)(?:[\\s>]|$)|!--)|<\\?|<![A-Za-z]|<!\\[CDATA\\[)`,
    'i',
  ),
};

const htmlTag = new RegExp(`^</?(?:${htmlTags})(?:[ \\t]+|/?>|$)`, 'i');
const anyTag =
  /^<(?:\/[a-z][a-z0-9-]*\s*|(?!(?:script|pre|style|textarea)(?![a-z0-9-]))[a-z][a-z0-9-]*(?:[ \t]+[a-zA-Z:_][\w.:-]*(?:[ \t]*=[ \t]*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?)*[ \t]*\/?)>[ \t]*$/i;

/** How a block of HTML ends that a line begins: `here` when the line ends it; null when it begins none. */
export function htmlEnd(text: string, inProse: boolean): RegExp | 'blank' | 'here' | null {
  const tag = /^ {0,3}(<.*)$/s.exec(text)?.[1];
  if (tag === undefined) return null;
  if (inProse && !patterns.htmlInProse.test(text)) return null;
  const raw = /^<(script|pre|style|textarea)(?:[\s>]|$)/i.exec(tag)?.[1];
  if (raw !== undefined) return until(new RegExp(`</${raw}>`, 'i'), tag);
  if (tag.startsWith('<!--')) return /^<!---?>/.test(tag) ? 'here' : until(/-->/, tag.slice(4));
  if (tag.startsWith('<?')) return until(/\?>/, tag);
  if (/^<![a-z]/i.test(tag)) return until(/>/, tag);
  if (/^<!\[CDATA\[/i.test(tag)) return until(/\]\]>/, tag);
  if (htmlTag.test(tag) || anyTag.test(tag)) return 'blank';
  return null;
}

function until(end: RegExp, text: string): RegExp | 'here' {
  return end.test(text) ? 'here' : end;
}

/**
 * Whether a line that is less indented than an item's content, at `offset`, begins something else.
 * With `before` a line of the item itself is asked: quotes and bullets are then part of it.
 */
export function interruptsItem(text: string, offset: number, before?: 'before'): boolean {
  const most = Math.max(0, Math.min(3, offset - 1));
  const indent = text.search(/[^ ]/);
  if (indent === -1 || indent > most) return false;
  return (
    /^ *(?:```|~~~|#{1,6}(?:\s|$))/.test(text) ||
    patterns.rule.test(text) ||
    patterns.htmlInProse.test(text) ||
    (before === undefined && (patterns.quote.test(text) || patterns.bullet.test(text)))
  );
}

/** Whether two lines are the head of a table and the row below it. */
export function isTable(head: string, delimiter: string): boolean {
  if (!/^ {0,3}[|:-]/.test(delimiter) || !/[:|]/.test(delimiter)) return false;
  const cells = delimiter
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|');
  if (!cells.every((cell) => /^ *:?-+:? *$/.test(cell))) return false;
  return countCells(head) === cells.length;
}

function countCells(row: string): number {
  const cells: string[] = [];
  let from = 0;
  for (let at = 0; at <= row.length; at += 1) {
    if (row[at] === '\\') at += 1;
    else if (at === row.length || row[at] === '|') {
      cells.push(row.slice(from, at));
      from = at + 1;
    }
  }
  const first = cells[0]?.trim() === '' ? 1 : 0;
  const last = cells.length > first && cells.at(-1)?.trim() === '' ? 1 : 0;
  return cells.length - first - last;
}

/** Makes the tabs before the first other character spaces; the text begins at `column`. */
export function expandIndent(text: string, column: number): string {
  const lead = /^[ \t]+/.exec(text)?.[0] ?? '';
  if (!lead.includes('\t')) return text;
  let width = column;
  for (const character of lead) width += character === '\t' ? 4 - (width % 4) : 1;
  return ' '.repeat(width - column) + text.slice(lead.length);
}
