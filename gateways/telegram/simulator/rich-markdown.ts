import type { RichBlock, RichBlockListItem, RichBlockTableCell, RichText } from 'grammy/types';
import type { UserLookup } from './formatted-text.ts';
import { badRequest, cannotParse } from './refusal.ts';
import { parseInline } from './rich-inline.ts';
import { MAX_DEPTH, type InlineContext } from './rich-text.ts';

/** A line without the marks of what it stands in. */
interface Line {
  text: string;
  /** Where `text` begins in the whole source. */
  at: number;
}

const MAX_COLUMNS = 20;
/** After so many empty lines an item does not go on. */
const MAX_EMPTY_LINES = 100;

/**
 * Reads rich Markdown: the blocks of GitHub Flavored Markdown and Telegram's own. It is stricter
 * than Markdown is: what is opened has to be closed.
 * @throws Refusal `can't parse entities: …` for what is not well formed.
 */
export function parseRichMarkdown(source: string, users: UserLookup): RichBlock[] {
  return new BlockReader(source, users).read();
}

class BlockReader {
  readonly #source: string;
  readonly #context: InlineContext;
  /** The names in the order in which they are defined; `#context` holds the same set. */
  readonly #names = new Set<string>();
  readonly #footnotes: { name: string; line: Line }[] = [];

  constructor(source: string, users: UserLookup) {
    this.#source = source;
    this.#context = { users, footnotes: this.#names };
  }

  read(): RichBlock[] {
    const lines: Line[] = [];
    let at = 0;
    for (const text of this.#source.split('\n')) {
      lines.push({ text: text.replaceAll('\t', '    '), at });
      at += text.length + 1;
    }
    const body = this.#takeFootnotes(lines);
    const blocks = this.#blocks(body, 1);
    for (const { name, line } of this.#footnotes) {
      const text: RichText = { type: 'reference', text: this.#inline([line]), name };
      blocks.push({ type: 'paragraph', text });
    }
    return blocks;
  }

  /** Definitions stand anywhere outside of code; they are shown at the end. */
  #takeFootnotes(lines: readonly Line[]): Line[] {
    let fence: string | undefined;
    return lines.filter((line) => {
      const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line.text)?.[1];
      if (mark !== undefined && fence === undefined) fence = mark;
      else if (mark !== undefined && fence !== undefined && mark.startsWith(fence))
        fence = undefined;
      if (fence !== undefined) return true;
      const match = /^ {0,3}\[\^([^\]\s]{1,64})\]: {0,8}/.exec(line.text);
      if (match?.[1] === undefined) return true;
      if (this.#names.has(match[1])) {
        throw cannotParse(`Footnote "${match[1]}" is defined twice ${this.#where(line.at)}`);
      }
      const { length } = match[0];
      this.#names.add(match[1]);
      this.#footnotes.push({ name: match[1], line: inner(line, length) });
      return false;
    });
  }

  #blocks(lines: readonly Line[], depth: number): RichBlock[] {
    if (depth > MAX_DEPTH) throw cannotParse(`Blocks are nested in more than ${MAX_DEPTH} levels`);
    const blocks: RichBlock[] = [];
    let at = 0;
    while (at < lines.length) {
      const line = lines[at];
      if (line === undefined || line.text.trim() === '') {
        at++;
        continue;
      }
      const { block, next } = this.#block(lines, at, line, depth);
      blocks.push(block);
      at = next;
    }
    return blocks;
  }

  #block(
    lines: readonly Line[],
    at: number,
    line: Line,
    depth: number,
  ): { block: RichBlock; next: number } {
    const text = line.text.trimStart();
    const indent = line.text.length - text.length;
    if (indent >= 4) return indentedCode(lines, at);
    if (/^(`{3}|~{3})/.test(text)) return this.#fence(lines, at, line);
    if (text.startsWith('$$')) return this.#mathBlock(lines, at, line);
    const heading = /^(#{1,6})(?: +|$)/.exec(text);
    if (heading?.[1] !== undefined) {
      const content = inner(line, indent + heading[0].length, / {0,99}#{0,99} {0,99}$/);
      return {
        block: {
          type: 'heading',
          text: this.#inline([content]),
          size: sizes[heading[1].length - 1] ?? 6,
        },
        next: at + 1,
      };
    }
    if (isDivider(text)) return { block: { type: 'divider' }, next: at + 1 };
    if (text.startsWith('>')) return this.#quote(lines, at, depth);
    if (markerOf(line) !== undefined) return this.#list(lines, at, depth);
    if (/^<details[\s>]/i.test(text)) return this.#details(lines, at, line, depth);
    if (/^!\[[^\]]*\]\((?!tg:\/\/(?:emoji|time)\?)/.test(text)) throw mediaRefusal(text);
    const table = this.#table(lines, at, line);
    return table ?? this.#paragraph(lines, at);
  }

  #fence(lines: readonly Line[], at: number, line: Line): { block: RichBlock; next: number } {
    const text = line.text.trimStart();
    const indent = line.text.length - text.length;
    const mark = /^(`+|~+)/.exec(text)?.[0] ?? '```';
    const language = text.slice(mark.length).trim();
    if (mark.startsWith('`') && language.includes('`')) return this.#paragraph(lines, at);
    for (let end = at + 1; end < lines.length; end++) {
      const closing = (lines[end]?.text ?? '').trim();
      if (closing.length < mark.length || closing !== (mark[0] ?? '').repeat(closing.length)) {
        continue;
      }
      const content = lines.slice(at + 1, end).map((inside) => outdent(inside.text, indent));
      const code = content.join('\n');
      const [name = ''] = language.split(/\s/, 1);
      const block: RichBlock =
        name === 'math'
          ? { type: 'mathematical_expression', expression: code }
          : { type: 'pre', text: code, ...(name === '' ? {} : { language: name }) };
      return { block, next: end + 1 };
    }
    const kind = language === '' ? 'Pre' : 'PreCode';
    throw cannotParse(`Can't find end of ${kind} entity ${this.#where(line.at + indent)}`);
  }

  #mathBlock(lines: readonly Line[], at: number, line: Line): { block: RichBlock; next: number } {
    const content: string[] = [];
    for (let end = at; end < lines.length; end++) {
      const text = (lines[end]?.text ?? '').trim();
      const rest = end === at ? text.slice(2) : text;
      if (rest.endsWith('$$')) {
        const expression = [...content, rest.slice(0, -2)].join('\n').trim();
        return { block: { type: 'mathematical_expression', expression }, next: end + 1 };
      }
      content.push(rest);
    }
    throw cannotParse(`Can't find end of a mathematical expression ${this.#where(line.at)}`);
  }

  #quote(lines: readonly Line[], from: number, depth: number): { block: RichBlock; next: number } {
    const quoted: Line[] = [];
    let at = from;
    for (; at < lines.length; at++) {
      const line = lines[at];
      const mark = /^ {0,3}> ?/.exec(line?.text ?? '')?.[0];
      if (line === undefined || mark === undefined) break;
      quoted.push(inner(line, mark.length));
    }
    return { block: { type: 'blockquote', blocks: this.#blocks(quoted, depth + 1) }, next: at };
  }

  #list(lines: readonly Line[], from: number, depth: number): { block: RichBlock; next: number } {
    const items: RichBlockListItem[] = [];
    const first = lines[from] === undefined ? undefined : markerOf(lines[from]);
    let at = from;
    while (at < lines.length) {
      const line = lines[at];
      const marker = line === undefined ? undefined : markerOf(line);
      if (line === undefined || marker === undefined || marker.kind !== first?.kind) break;
      if (isDivider(line.text.trim())) break;
      const content: Line[] = [inner(line, marker.width)];
      at++;
      for (; at < lines.length; at++) {
        const next = lines[at];
        if (next === undefined) break;
        const indent = next.text.length - next.text.trimStart().length;
        const isEmpty = next.text.trim() === '';
        const before = content.at(-1)?.text.trim() ?? '';
        if (!isEmpty && indent >= marker.width) content.push(inner(next, marker.width));
        else if (isEmpty && this.#goesOn(lines, at, marker.width))
          content.push(inner(next, next.text.length));
        else if (!isEmpty && before !== '' && !endsItem(next)) content.push(inner(next, indent));
        else break;
      }
      items.push(this.#item(content, marker, (first?.start ?? 0) + items.length, depth));
      // One empty line may stand between two items.
      const after = lines[at];
      const following = lines[at + 1];
      if (after?.text.trim() === '' && following !== undefined && markerOf(following)) at++;
    }
    return { block: { type: 'list', items }, next: at };
  }

  /** Whether an item goes on below an empty line. */
  #goesOn(lines: readonly Line[], from: number, width: number): boolean {
    let at = from;
    while (at < from + MAX_EMPTY_LINES && lines[at]?.text.trim() === '') at++;
    const next = lines[at];
    return next !== undefined && next.text.length - next.text.trimStart().length >= width;
  }

  #item(content: Line[], marker: Marker, number: number, depth: number): RichBlockListItem {
    const task = /^\[([ xX])\] /.exec(content[0]?.text ?? '');
    if (task !== null && content[0] !== undefined) content[0] = inner(content[0], 4);
    const blocks = this.#blocks(content, depth + 1);
    const ordered = marker.number === undefined ? undefined : number;
    return {
      label: ordered === undefined ? '•' : `${ordered}.`,
      blocks,
      ...(task === null ? {} : { has_checkbox: true }),
      ...(task !== null && task[1] !== ' ' ? { is_checked: true } : {}),
      ...(ordered === undefined ? {} : { value: ordered, type: '1' }),
    };
  }

  #details(
    lines: readonly Line[],
    at: number,
    line: Line,
    depth: number,
  ): { block: RichBlock; next: number } {
    const open = /^ {0,3}<details(\s+open(?:="")?)?\s*>\s*/i.exec(line.text);
    if (open === null) throw cannotParse(`Unclosed start tag ${this.#where(line.at)}`);
    const head = inner(line, open[0].length);
    const summary = /^<summary>(.*)<\/summary>\s*/i.exec(head.text);
    if (summary === null) {
      throw cannotParse(`Tag "details" must begin with "summary" ${this.#where(line.at)}`);
    }
    let level = 1;
    const content: Line[] = [];
    const rest = inner(head, summary[0].length);
    for (let end = at; end < lines.length; end++) {
      const next = end === at ? rest : lines[end];
      if (next === undefined) break;
      if (end > at && /^ {0,3}<details[\s>]/i.test(next.text)) level++;
      const close = next.text.toLowerCase().indexOf('</details>');
      if (close >= 0 && --level === 0) {
        content.push({ text: next.text.slice(0, close), at: next.at });
        const title = inner({ text: summary[1] ?? '', at: head.at + '<summary>'.length }, 0);
        const block: RichBlock = {
          type: 'details',
          summary: this.#inline([title]),
          blocks: this.#blocks(content, depth + 1),
          ...(open[1] === undefined ? {} : { is_open: true }),
        };
        return { block, next: end + 1 };
      }
      content.push(next);
    }
    throw cannotParse(`Can't find end tag corresponding to start tag "details"`);
  }

  #table(
    lines: readonly Line[],
    at: number,
    line: Line,
  ): { block: RichBlock; next: number } | undefined {
    const rule = lines[at + 1];
    if (!line.text.includes('|') || rule === undefined) return undefined;
    const aligns = readRule(rule.text);
    if (aligns === undefined) return undefined;
    const head = splitRow(line);
    if (head.length !== aligns.length) {
      throw cannotParse(
        `Table has ${head.length} header cells and ${aligns.length} columns ${this.#where(line.at)}`,
      );
    }
    if (head.length > MAX_COLUMNS) {
      throw cannotParse(`Table has more than ${MAX_COLUMNS} columns ${this.#where(line.at)}`);
    }
    const rows = [this.#row(head, aligns, true)];
    let end = at + 2;
    for (; end < lines.length; end++) {
      const next = lines[end];
      if (next === undefined || !next.text.includes('|')) break;
      const cells = splitRow(next);
      if (cells.length > aligns.length) {
        throw cannotParse(
          `Table row has ${cells.length} cells for ${aligns.length} columns ${this.#where(next.at)}`,
        );
      }
      rows.push(this.#row(cells, aligns, false));
    }
    return { block: { type: 'table', cells: rows, is_bordered: true }, next: end };
  }

  #row(cells: readonly Line[], aligns: readonly Align[], isHeader: boolean): RichBlockTableCell[] {
    return aligns.map((align, column) => {
      const cell = cells[column];
      const text = cell === undefined || cell.text === '' ? undefined : this.#inline([cell]);
      return {
        ...(text === undefined ? {} : { text }),
        ...(isHeader ? { is_header: true } : {}),
        align,
        valign: 'middle',
      };
    });
  }

  #paragraph(lines: readonly Line[], from: number): { block: RichBlock; next: number } {
    const content: Line[] = [];
    let at = from;
    for (; at < lines.length; at++) {
      const line = lines[at];
      if (line === undefined || line.text.trim() === '') break;
      if (at > from) {
        const underline = /^ {0,3}(=+|-+) *$/.exec(line.text)?.[1];
        if (underline !== undefined) {
          const size = underline.startsWith('=') ? 1 : 2;
          return { block: { type: 'heading', text: this.#inline(content), size }, next: at + 1 };
        }
        if (beginsBlock(line)) break;
      }
      content.push(inner(line, line.text.length - line.text.trimStart().length));
    }
    return { block: { type: 'paragraph', text: this.#inline(content) }, next: at };
  }

  #inline(lines: readonly Line[]): RichText {
    const last = lines.length - 1;
    const texts = lines.map(({ text }, index) => (index === last ? text.trimEnd() : text));
    return parseInline(
      {
        text: texts.join('\n'),
        where: (at) => {
          let left = at;
          for (const [index, text] of texts.entries()) {
            if (left <= text.length || index === last) {
              return this.#where((lines[index]?.at ?? 0) + left);
            }
            left -= text.length + 1;
          }
          return this.#where(at);
        },
      },
      this.#context,
    );
  }

  #where(at: number): string {
    return `at byte offset ${Buffer.byteLength(this.#source.slice(0, at))}`;
  }
}

const sizes = [1, 2, 3, 4, 5, 6] as const;

interface Marker {
  /** Items of one list have one kind. */
  kind: string;
  /** Where the item's text begins in its line. */
  width: number;
  number: number | undefined;
  start: number;
}

function markerOf(line: Line): Marker | undefined {
  const match = /^( {0,3})(?:([-*+])|(\d{1,9})([.)]))( {1,4}|$)/.exec(line.text);
  if (match === null) return undefined;
  const [whole, , bullet, digits, dot] = match;
  const number = digits === undefined ? undefined : Number(digits);
  return { kind: bullet ?? dot ?? '', width: whole.length, number, start: number ?? 0 };
}

/** Whether a line ends the paragraph before it. */
function beginsBlock(line: Line): boolean {
  const text = line.text.trimStart();
  const marker = markerOf(line);
  return (
    /^(?:`{3}|~{3}|>|\$\$|#{1,6}(?: |$)|<\/?details[\s>])/i.test(text) ||
    isDivider(text) ||
    (marker !== undefined && (marker.number === undefined || marker.number === 1))
  );
}

/** Within a list every marker begins an item, also one that does not begin a list. */
function endsItem(line: Line): boolean {
  return beginsBlock(line) || markerOf(line) !== undefined;
}

function isDivider(text: string): boolean {
  const marks = text.replaceAll(' ', '');
  return marks.length >= 3 && /^(?:-+|\*+|_+)$/.test(marks);
}

function inner(line: Line, from: number, ending?: RegExp): Line {
  const text = line.text.slice(from);
  return { text: ending === undefined ? text : text.replace(ending, ''), at: line.at + from };
}

function outdent(text: string, indent: number): string {
  const blank = text.length - text.trimStart().length;
  return text.slice(Math.min(blank, indent));
}

function indentedCode(lines: readonly Line[], from: number): { block: RichBlock; next: number } {
  let at = from;
  while (at < lines.length && /^(?: {4}| *$)/.test(lines[at]?.text ?? '')) at++;
  const code = lines.slice(from, at).map(({ text }) => outdent(text, 4));
  return { block: { type: 'pre', text: code.join('\n').trimEnd() }, next: at };
}

type Align = 'left' | 'center' | 'right';

/** The line below a table's head; undefined when it is none. */
function readRule(text: string): Align[] | undefined {
  if (!text.includes('-')) return undefined;
  const cells = text.trim().replace(/^\|/, '').replace(/\|$/, '').split('|');
  const aligns: Align[] = [];
  for (const cell of cells) {
    const mark = cell.trim();
    if (!/^:?-+:?$/.test(mark)) return undefined;
    const isRight = mark.endsWith(':');
    aligns.push(isRight ? (mark.startsWith(':') ? 'center' : 'right') : 'left');
  }
  return cells.length === 1 && !text.includes('|') ? undefined : aligns;
}

/** The cells of a row; a bar in code or after a backslash divides nothing. */
function splitRow(line: Line): Line[] {
  const begin = line.text.length - line.text.trimStart().length;
  const end = line.text.trimEnd().length;
  const cells: Line[] = [];
  let from = line.text[begin] === '|' ? begin + 1 : begin;
  let isCode = false;
  for (let at = from; at < end; at++) {
    const character = line.text[at];
    if (character === '\\') at++;
    else if (character === '`') isCode = !isCode;
    else if (character === '|' && !isCode) {
      cells.push(cellOf(line, from, at));
      from = at + 1;
    }
  }
  if (from < end) cells.push(cellOf(line, from, end));
  return cells;
}

function cellOf(line: Line, from: number, to: number): Line {
  const text = line.text.slice(from, to);
  return { text: text.trim(), at: line.at + from + text.length - text.trimStart().length };
}

/** Media need a network, and this simulator has none. */
function mediaRefusal(text: string): Error {
  return /\]\(https?:/i.test(text)
    ? badRequest('failed to get HTTP URL content')
    : cannotParse('Media blocks support only HTTP and HTTPS URLs');
}
