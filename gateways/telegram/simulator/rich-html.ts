import type { RichBlock, RichBlockListItem, RichBlockTableCell, RichText } from 'grammy/types';
import type { UserLookup } from './formatted-text.ts';
import { decodeCharacter, readEndTag, readStartTag, where } from './parse-html.ts';
import { badRequest, cannotParse } from './refusal.ts';
import {
  isInlineTag,
  joined,
  MAX_DEPTH,
  moreEntities,
  wrapOfTag,
  type InlineContext,
} from './rich-text.ts';

interface Element {
  name: string;
  attributes: Map<string, string>;
  /** `at byte offset N`. */
  where: string;
  children: (Element | string)[];
}

const blockTags = new Set(
  `p h1 h2 h3 h4 h5 h6 pre footer hr ul ol li blockquote aside table caption tr th td details
   summary cite tg-math-block input`.split(/\s+/),
);
/** What Telegram takes and this simulator does not: it has no network, and shows no buttons in text. */
const unsimulated = new Set(
  `img video audio figure figcaption tg-document tg-map tg-collage tg-slideshow tg-button
   tg-button-row`.split(/\s+/),
);
const empty = new Set(['br', 'hr', 'input']);
const raw = new Set(['tg-math', 'tg-math-block']);
const MAX_COLUMNS = 20;
/** Blocks, items and inline tags within each other: beyond it nothing well meant is written. */
const MAX_OPEN = MAX_DEPTH * 3;

/**
 * Reads rich HTML: Telegram's tags, each closed where it has to be and standing where it may.
 * @throws Refusal `can't parse entities: …` for what is not well formed.
 */
export function parseRichHtml(source: string, users: UserLookup): RichBlock[] {
  const context: InlineContext = { users, footnotes: new Set() };
  return toBlocks(parseTree(source), 1, context);
}

function parseTree(source: string): (Element | string)[] {
  const root: (Element | string)[] = [];
  const open: Element[] = [];
  let at = 0;
  let text = '';
  const parent = (): (Element | string)[] => open.at(-1)?.children ?? root;
  const flush = (): void => {
    if (text !== '') parent().push(text);
    text = '';
  };
  while (at < source.length) {
    const character = source[at] ?? '';
    if (character === '&') {
      const decoded = decodeCharacter(source, at, moreEntities);
      text += decoded?.text ?? '&';
      at = decoded?.end ?? at + 1;
      continue;
    }
    if (character !== '<') {
      text += character;
      at++;
      continue;
    }
    flush();
    if (source[at + 1] === '/') {
      const end = readEndTag(source, at);
      const element = open.pop();
      if (element === undefined) throw cannotParse(`Unexpected end tag ${where(source, at)}`);
      if (element.name !== end.name) {
        throw cannotParse(
          `Unmatched end tag ${where(source, at)}, expected "</${element.name}>", found "</${end.name}>"`,
        );
      }
      at = end.end;
      continue;
    }
    const tag = readStartTag(source, at, isKnown);
    const place = where(source, at);
    if (unsimulated.has(tag.name)) throw unsimulatedTag(tag.name, tag.attributes, place);
    const element = { name: tag.name, attributes: tag.attributes, where: place, children: [] };
    parent().push(element);
    at = tag.end;
    if (tag.isClosed || empty.has(tag.name)) continue;
    open.push(element);
    if (open.length > MAX_OPEN) {
      throw cannotParse(`Tags are nested in more than ${MAX_OPEN} levels ${place}`);
    }
    if (raw.has(tag.name)) {
      const end = source.indexOf(`</${tag.name}>`, at);
      if (end >= 0) {
        text = source.slice(at, end);
        at = end;
      }
    }
  }
  flush();
  const left = open.at(-1);
  if (left !== undefined) {
    throw cannotParse(`Can't find end tag corresponding to start tag "${left.name}"`);
  }
  return root;
}

function isKnown(name: string): boolean {
  return blockTags.has(name) || unsimulated.has(name) || isInlineTag(name);
}

function unsimulatedTag(name: string, attributes: Map<string, string>, place: string): Error {
  return /^https?:/i.test(attributes.get('src') ?? '')
    ? badRequest('failed to get HTTP URL content')
    : cannotParse(`Tag "${name}" is not simulated ${place}`);
}

/** Blocks, and what stands loose between them as paragraphs. */
function toBlocks(
  nodes: readonly (Element | string)[],
  depth: number,
  context: InlineContext,
): RichBlock[] {
  if (depth > MAX_DEPTH) throw cannotParse(`Blocks are nested in more than ${MAX_DEPTH} levels`);
  const blocks: RichBlock[] = [];
  let loose: (Element | string)[] = [];
  const flush = (): void => {
    const text = toText(loose, context);
    if (text !== '') blocks.push({ type: 'paragraph', text });
    loose = [];
  };
  for (const node of nodes) {
    if (typeof node === 'string' || isInlineTag(node.name)) loose.push(node);
    else {
      flush();
      blocks.push(toBlock(node, depth, context));
    }
  }
  flush();
  return blocks;
}

function toBlock(element: Element, depth: number, context: InlineContext): RichBlock {
  const { name, attributes, children } = element;
  const text = (): RichText => toText(children, context);
  const inner = (nodes: readonly (Element | string)[]): RichBlock[] =>
    toBlocks(nodes, depth + 1, context);
  switch (name) {
    case 'p':
      return { type: 'paragraph', text: text() };
    case 'footer':
      return { type: 'footer', text: text() };
    case 'h1':
    case 'h2':
    case 'h3':
    case 'h4':
    case 'h5':
    case 'h6':
      return { type: 'heading', text: text(), size: sizes[Number(name[1]) - 1] ?? 6 };
    case 'pre':
      return toPre(element);
    case 'hr':
      return { type: 'divider' };
    case 'tg-math-block':
      return { type: 'mathematical_expression', expression: children.map(String).join('') };
    case 'ul':
    case 'ol':
      return { type: 'list', items: toItems(element, depth, context) };
    case 'blockquote': {
      const { rest, credit } = takeCredit(children, context);
      if (!attributes.has('expandable'))
        return { type: 'blockquote', blocks: inner(rest), ...credit };
      return { type: 'expandable_blockquote', text: toText(rest, context), ...credit };
    }
    case 'aside': {
      const { rest, credit } = takeCredit(children, context);
      return { type: 'pullquote', text: toText(rest, context), ...credit };
    }
    case 'details': {
      const rest = children.filter((node) => typeof node !== 'string' || node.trim() !== '');
      const [summary] = rest;
      if (typeof summary !== 'object' || summary.name !== 'summary') {
        throw cannotParse(`Tag "details" must begin with "summary" ${element.where}`);
      }
      return {
        type: 'details',
        summary: toText(summary.children, context),
        blocks: inner(rest.slice(1)),
        ...(attributes.has('open') ? { is_open: true } : {}),
      };
    }
    case 'table':
      return toTable(element, context);
    default:
      throw misplaced(element);
  }
}

const sizes = [1, 2, 3, 4, 5, 6] as const;

function misplaced(element: Element): Error {
  return cannotParse(`Unexpected tag "${element.name}" ${element.where}`);
}

/** Code as it is, white space and all. */
function toPre(element: Element): RichBlock {
  const [only] = element.children;
  const isCode = typeof only === 'object' && only.name === 'code' && element.children.length === 1;
  const language = isCode
    ? /^language-(.+)$/.exec(only.attributes.get('class') ?? '')?.[1]
    : undefined;
  const text = (isCode ? only : element).children.map(verbatim).join('').replace(/^\n/, '');
  return { type: 'pre', text, ...(language === undefined ? {} : { language }) };
}

function verbatim(node: Element | string): string {
  if (typeof node === 'string') return node;
  if (!isInlineTag(node.name)) throw misplaced(node);
  return node.name === 'br' ? '\n' : node.children.map(verbatim).join('');
}

function toItems(element: Element, depth: number, context: InlineContext): RichBlockListItem[] {
  const isOrdered = element.name === 'ol';
  const start = Number(element.attributes.get('start') ?? 1);
  const items = elementsOf(element, ['li']);
  return items.map((item, index): RichBlockListItem => {
    const nodes = [...item.children];
    const [first] = nodes;
    const isTask =
      typeof first === 'object' &&
      first.name === 'input' &&
      first.attributes.get('type') === 'checkbox';
    if (isTask) nodes.shift();
    const isChecked = isTask && first.attributes.has('checked');
    const given = Number(item.attributes.get('value') ?? Number.NaN);
    const value = Number.isSafeInteger(given) ? given : start + index;
    return {
      label: isOrdered ? `${value}.` : '•',
      blocks: toBlocks(nodes, depth + 1, context),
      ...(isTask ? { has_checkbox: true } : {}),
      ...(isChecked ? { is_checked: true } : {}),
      ...(isOrdered ? { value, type: '1' } : {}),
    };
  });
}

function toTable(element: Element, context: InlineContext): RichBlock {
  const parts = elementsOf(element, ['caption', 'tr']);
  const caption = parts.find(({ name }) => name === 'caption');
  const cells = parts
    .filter(({ name }) => name === 'tr')
    .map((row) => elementsOf(row, ['th', 'td']).map((cell) => toCell(cell, context)));
  if (cells.length === 0) throw cannotParse(`Table has no rows ${element.where}`);
  if (cells.some((row) => row.length > MAX_COLUMNS)) {
    throw cannotParse(`Table has more than ${MAX_COLUMNS} columns ${element.where}`);
  }
  const { attributes } = element;
  return {
    type: 'table',
    cells,
    ...(attributes.has('bordered') ? { is_bordered: true } : {}),
    ...(attributes.has('striped') ? { is_striped: true } : {}),
    ...(attributes.has('compact') ? { is_compact: true } : {}),
    ...(caption === undefined ? {} : { caption: toText(caption.children, context) }),
  };
}

function toCell(cell: Element, context: InlineContext): RichBlockTableCell {
  const text = toText(cell.children, context);
  const { attributes } = cell;
  const align = (['left', 'center', 'right'] as const).find((it) => it === attributes.get('align'));
  const valign = (['top', 'middle', 'bottom'] as const).find(
    (it) => it === attributes.get('valign'),
  );
  const span = (name: 'colspan' | 'rowspan'): Partial<RichBlockTableCell> => {
    const count = Number(attributes.get(name) ?? 1);
    return Number.isSafeInteger(count) && count > 1 ? { [name]: count } : {};
  };
  return {
    ...(text === '' ? {} : { text }),
    ...(cell.name === 'th' ? { is_header: true } : {}),
    ...span('colspan'),
    ...span('rowspan'),
    align: align ?? 'left',
    valign: valign ?? 'middle',
  };
}

/** The elements in one that holds nothing else but white space. */
function elementsOf(element: Element, names: readonly string[]): Element[] {
  return element.children.flatMap((node) => {
    if (typeof node !== 'string') {
      if (names.includes(node.name)) return [node];
      throw misplaced(node);
    }
    if (node.trim() === '') return [];
    throw cannotParse(`Unexpected text in the tag "${element.name}" ${element.where}`);
  });
}

function takeCredit(
  nodes: readonly (Element | string)[],
  context: InlineContext,
): { rest: (Element | string)[]; credit: { credit?: RichText } } {
  const cite = nodes.find((node) => typeof node === 'object' && node.name === 'cite');
  const rest = nodes.filter((node) => node !== cite);
  if (typeof cite !== 'object') return { rest, credit: {} };
  return { rest, credit: { credit: toText(cite.children, context) } };
}

/** Text of one block: white space runs together, and none is left at its ends. */
function toText(nodes: readonly (Element | string)[], context: InlineContext): RichText {
  const parts = nodes.map((node) => toInline(node, context));
  return trimmed(trimmed(joined(parts), 'start'), 'end');
}

function toInline(node: Element | string, context: InlineContext): RichText {
  if (typeof node === 'string') return node.replace(/[ \n\t\r\f]+/g, ' ');
  const { name, attributes, children } = node;
  if (!isInlineTag(name)) throw misplaced(node);
  if (name === 'br') return '\n';
  if (name === 'tg-math') {
    return { type: 'mathematical_expression', expression: children.map(String).join('') };
  }
  const anchor = attributes.get('name');
  if (name === 'a' && anchor !== undefined && !attributes.has('href')) {
    if (children.length > 0) throw cannotParse(`Anchor must be empty ${node.where}`);
    return { type: 'anchor', name: anchor };
  }
  const text = joined(children.map((child) => toInline(child, context)));
  return wrapOfTag(name, attributes, node.where, context)(text);
}

function trimmed(text: RichText, end: 'start' | 'end'): RichText {
  if (typeof text === 'string') return end === 'start' ? text.trimStart() : text.trimEnd();
  if (!Array.isArray(text)) return text;
  const at = end === 'start' ? 0 : text.length - 1;
  const edge = text[at];
  return edge === undefined ? text : joined(text.with(at, trimmed(edge, end)));
}
