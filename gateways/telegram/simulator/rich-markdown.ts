import type { RichBlock, RichBlockListItem, RichText } from 'grammy/types';
import type { UserLookup } from './formatted-text.ts';
import { badRequest, cannotParse } from './refusal.ts';
import { parseInline } from './rich-inline.ts';
import {
  beginsBlock,
  endsItem,
  isDivider,
  markerOf,
  restOf,
  type BlockOfLines,
  type Line,
  type Marker,
} from './rich-lines.ts';
import { readTable } from './rich-table.ts';
import { MAX_DEPTH, type InlineContext } from './rich-text.ts';
import { readFence, readIndentedCode, readMathBlock } from './rich-verbatim.ts';

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
  readonly #where = (at: number): string =>
    `at byte offset ${Buffer.byteLength(this.#source.slice(0, at))}`;

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
      this.#footnotes.push({ name: match[1], line: restOf(line, length) });
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

  #block(lines: readonly Line[], at: number, line: Line, depth: number): BlockOfLines {
    const text = line.text.trimStart();
    const indent = line.text.length - text.length;
    if (indent >= 4) return readIndentedCode(lines, at);
    if (/^(`{3}|~{3})/.test(text)) {
      return readFence(lines, at, this.#where) ?? this.#paragraph(lines, at);
    }
    if (text.startsWith('$$')) return readMathBlock(lines, at, this.#where);
    const heading = /^(#{1,6})(?: +|$)/.exec(text);
    if (heading?.[1] !== undefined) {
      const content = restOf(line, indent + heading[0].length, / {0,99}#{0,99} {0,99}$/);
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
    const inline = (cell: Line): RichText => this.#inline([cell]);
    return readTable(lines, at, inline, this.#where) ?? this.#paragraph(lines, at);
  }

  #quote(lines: readonly Line[], from: number, depth: number): BlockOfLines {
    const quoted: Line[] = [];
    let at = from;
    for (; at < lines.length; at++) {
      const line = lines[at];
      const mark = /^ {0,3}> ?/.exec(line?.text ?? '')?.[0];
      if (line === undefined || mark === undefined) break;
      quoted.push(restOf(line, mark.length));
    }
    return { block: { type: 'blockquote', blocks: this.#blocks(quoted, depth + 1) }, next: at };
  }

  #list(lines: readonly Line[], from: number, depth: number): BlockOfLines {
    const items: RichBlockListItem[] = [];
    const first = lines[from] === undefined ? undefined : markerOf(lines[from]);
    let at = from;
    while (at < lines.length) {
      const line = lines[at];
      const marker = line === undefined ? undefined : markerOf(line);
      if (line === undefined || marker === undefined || marker.kind !== first?.kind) break;
      if (isDivider(line.text.trim())) break;
      const content: Line[] = [restOf(line, marker.width)];
      at++;
      for (; at < lines.length; at++) {
        const next = lines[at];
        if (next === undefined) break;
        const indent = next.text.length - next.text.trimStart().length;
        const isEmpty = next.text.trim() === '';
        const before = content.at(-1)?.text.trim() ?? '';
        if (!isEmpty && indent >= marker.width) content.push(restOf(next, marker.width));
        else if (isEmpty && this.#goesOn(lines, at, marker.width))
          content.push(restOf(next, next.text.length));
        else if (!isEmpty && before !== '' && !endsItem(next)) content.push(restOf(next, indent));
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
    if (task !== null && content[0] !== undefined) content[0] = restOf(content[0], 4);
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

  #details(lines: readonly Line[], at: number, line: Line, depth: number): BlockOfLines {
    const open = /^ {0,3}<details(\s+open(?:="")?)?\s*>\s*/i.exec(line.text);
    if (open === null) throw cannotParse(`Unclosed start tag ${this.#where(line.at)}`);
    const head = restOf(line, open[0].length);
    const summary = /^<summary>(.*)<\/summary>\s*/i.exec(head.text);
    if (summary === null) {
      throw cannotParse(`Tag "details" must begin with "summary" ${this.#where(line.at)}`);
    }
    let level = 1;
    const content: Line[] = [];
    const rest = restOf(head, summary[0].length);
    for (let end = at; end < lines.length; end++) {
      const next = end === at ? rest : lines[end];
      if (next === undefined) break;
      if (end > at && /^ {0,3}<details[\s>]/i.test(next.text)) level++;
      const close = next.text.toLowerCase().indexOf('</details>');
      if (close >= 0 && --level === 0) {
        content.push({ text: next.text.slice(0, close), at: next.at });
        const title = restOf({ text: summary[1] ?? '', at: head.at + '<summary>'.length }, 0);
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

  #paragraph(lines: readonly Line[], from: number): BlockOfLines {
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
      content.push(restOf(line, line.text.length - line.text.trimStart().length));
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
}

const sizes = [1, 2, 3, 4, 5, 6] as const;

/** Media need a network, and this simulator has none. */
function mediaRefusal(text: string): Error {
  return /\]\(https?:/i.test(text)
    ? badRequest('failed to get HTTP URL content')
    : cannotParse('Media blocks support only HTTP and HTTPS URLs');
}
