import type {
  RichBlock,
  RichBlockListItem,
  RichBlockTableCell,
  RichMessage,
  RichText,
} from 'grammy/types';
import { findEntities } from './find-entities.ts';
import type { UserLookup } from './formatted-text.ts';
import { badRequest, cannotParse } from './refusal.ts';
import { parseRichHtml } from './rich-html.ts';
import { parseRichMarkdown } from './rich-markdown.ts';
import { joined, MAX_DEPTH } from './rich-text.ts';
import { isObject, textOf, type JsonObject } from './values.ts';

const MAX_CHARACTERS = 32_768;
const MAX_BLOCKS = 500;

/** What a rich message is, and the text that a person reads in it. */
export interface ReadRichMessage {
  message: RichMessage;
  text: string;
}

/**
 * Reads the `rich_message` of a call: `markdown`, `html` or `blocks`.
 * @throws Refusal for what is not well formed, too long, empty, or (media, buttons) not simulated.
 */
export function readRichMessage(
  value: unknown,
  { users, isDraft }: { users: UserLookup; isDraft: boolean },
): ReadRichMessage {
  if (!isObject(value)) throw badRequest("can't parse InputRichMessage: expected an Object");
  const given = ['blocks', 'html', 'markdown'].filter((field) => value[field] !== undefined);
  if (given.length !== 1) {
    throw badRequest('exactly one of the fields html, markdown, or blocks must be used');
  }
  if (value['media'] !== undefined) {
    throw badRequest('media of rich messages is not simulated: send it as a message of its own');
  }
  const read =
    value['blocks'] === undefined
      ? readSource(value, users)
      : readBlocks(value['blocks'], isDraft, 1);
  if (countBlocks(read) > MAX_BLOCKS) {
    throw badRequest(`rich message has more than ${MAX_BLOCKS} blocks`);
  }
  const blocks = value['skip_entity_detection'] === true ? read : read.map(detectInBlock);
  const text = plainBlocks(blocks);
  if (charactersOf(text) > MAX_CHARACTERS) throw badRequest('message is too long');
  if (text.trim() === '' && !blocks.some(({ type }) => type === 'divider')) {
    throw badRequest('text must be non-empty');
  }
  return { message: { blocks, ...(value['is_rtl'] === true ? { is_rtl: true } : {}) }, text };
}

/** The blocks of a message in Markdown or HTML. */
function readSource({ markdown, html }: JsonObject, users: UserLookup): RichBlock[] {
  const source = markdown ?? html;
  if (typeof source !== 'string') {
    throw badRequest("can't parse InputRichMessage: markdown and html must be of type String");
  }
  if (source === '') throw badRequest('message text is empty');
  // More than the text can be after parsing is not worth reading.
  if (source.length > MAX_CHARACTERS * 8) throw badRequest('message is too long');
  const lines = source.replaceAll('\r\n', '\n');
  return markdown === undefined ? parseRichHtml(lines, users) : parseRichMarkdown(lines, users);
}

/** Characters, where two surrogates are one. */
function charactersOf(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const isPair = text.charCodeAt(at) >= 0xd800 && text.charCodeAt(at) <= 0xdbff;
    if (isPair) at++;
    count++;
  }
  return count;
}

/** The blocks that a bot gives itself: those without media. */
function readBlocks(value: unknown, isDraft: boolean, depth: number): RichBlock[] {
  if (!Array.isArray(value)) {
    throw badRequest(`can't parse InputRichMessage: Field "blocks" must be of type Array`);
  }
  if (depth > MAX_DEPTH) throw cannotParse(`Blocks are nested in more than ${MAX_DEPTH} levels`);
  return value.map((block: unknown) => readBlock(block, isDraft, depth));
}

function readBlock(block: unknown, isDraft: boolean, depth: number): RichBlock {
  if (!isObject(block)) throw badRequest("can't parse InputRichBlock: expected an Object");
  const { type } = block;
  const text = (): RichText => readRichText(block['text'], 1);
  const credit = block['credit'] === undefined ? {} : { credit: readRichText(block['credit'], 1) };
  const blocks = (): RichBlock[] => readBlocks(block['blocks'], isDraft, depth + 1);
  switch (type) {
    case 'paragraph':
    case 'footer':
      return { type, text: text() };
    case 'heading': {
      const size = ([1, 2, 3, 4, 5, 6] as const).find((known) => known === block['size']);
      if (size === undefined) throw badRequest("can't parse InputRichBlock: size must be 1-6");
      return { type, text: text(), size };
    }
    case 'pre': {
      const { language } = block;
      return { type, text: text(), ...(typeof language === 'string' ? { language } : {}) };
    }
    case 'divider':
      return { type };
    case 'mathematical_expression':
      return { type, expression: stringOf(block, 'expression') };
    case 'anchor':
      return { type, name: stringOf(block, 'name') };
    case 'blockquote':
      return { type, blocks: blocks(), ...credit };
    case 'expandable_blockquote':
    case 'pullquote':
      return { type, text: text(), ...credit };
    case 'details': {
      const isOpen = block['is_open'] === true ? ({ is_open: true } as const) : {};
      return { type, summary: readRichText(block['summary'], 1), blocks: blocks(), ...isOpen };
    }
    case 'list':
      return { type, items: readItems(block['items'], isDraft, depth) };
    case 'table':
      return { type, cells: readCells(block['cells']) };
    case 'thinking':
      if (isDraft) return { type, text: text() };
      throw badRequest('thinking block may be used only in drafts');
    default:
      throw badRequest(`can't parse InputRichBlock: type "${textOf(type)}" is unsupported`);
  }
}

function readItems(value: unknown, isDraft: boolean, depth: number): RichBlockListItem[] {
  if (!Array.isArray(value)) throw badRequest("can't parse InputRichBlock: items must be an Array");
  return value.map((item: unknown, index) => {
    if (!isObject(item)) throw badRequest("can't parse InputRichBlockListItem: expected an Object");
    const number = typeof item['value'] === 'number' ? item['value'] : index + 1;
    const isOrdered = item['type'] !== undefined || item['value'] !== undefined;
    return {
      label: isOrdered ? `${number}.` : '•',
      blocks: readBlocks(item['blocks'], isDraft, depth + 1),
      ...(item['has_checkbox'] === true ? { has_checkbox: true } : {}),
      ...(item['is_checked'] === true ? { is_checked: true } : {}),
      ...(isOrdered ? { value: number } : {}),
    };
  });
}

function readCells(value: unknown): RichBlockTableCell[][] {
  const rows: unknown[] = Array.isArray(value) ? value : [];
  if (rows.length === 0) throw badRequest("can't parse InputRichBlock: cells must be an Array");
  return rows.map((row) => {
    if (!Array.isArray(row) || row.length > 20) {
      throw badRequest('table must have rows of at most 20 columns');
    }
    return row.map((cell: unknown): RichBlockTableCell => {
      if (!isObject(cell)) throw badRequest("can't parse RichBlockTableCell: expected an Object");
      const align = (['left', 'center', 'right'] as const).find((it) => it === cell['align']);
      const valign = (['top', 'middle', 'bottom'] as const).find((it) => it === cell['valign']);
      return {
        ...(cell['text'] === undefined ? {} : { text: readRichText(cell['text'], 1) }),
        ...(cell['is_header'] === true ? { is_header: true } : {}),
        align: align ?? 'left',
        valign: valign ?? 'middle',
      };
    });
  });
}

/** The kinds of text that only wrap another text. */
const wrapping = [
  ...(['bold', 'italic', 'underline', 'strikethrough', 'spoiler'] as const),
  ...(['subscript', 'superscript', 'marked', 'code'] as const),
];

function readRichText(value: unknown, depth: number): RichText {
  if (depth > MAX_DEPTH) throw cannotParse(`Text is nested in more than ${MAX_DEPTH} levels`);
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map((part: unknown) => readRichText(part, depth + 1));
  if (!isObject(value)) throw badRequest("can't parse RichText: expected a String or an Object");
  const text = (): RichText => readRichText(value['text'], depth + 1);
  const type = wrapping.find((known) => known === value['type']);
  if (type !== undefined) return { type, text: text() };
  switch (value['type']) {
    case 'url':
      return { type: 'url', text: text(), url: stringOf(value, 'url') };
    case 'mathematical_expression':
      return { type: 'mathematical_expression', expression: stringOf(value, 'expression') };
    case 'anchor_link':
      return { type: 'anchor_link', text: text(), anchor_name: stringOf(value, 'anchor_name') };
    case 'custom_emoji':
      return {
        type: 'custom_emoji',
        custom_emoji_id: stringOf(value, 'custom_emoji_id'),
        alternative_text: stringOf(value, 'alternative_text'),
      };
    default:
      throw badRequest(`can't parse RichText: type "${textOf(value['type'])}" is unsupported`);
  }
}

function stringOf(value: JsonObject, field: string): string {
  const text = value[field];
  if (typeof text === 'string') return text;
  throw badRequest(`can't parse rich message: Field "${field}" must be of type String`);
}

function countBlocks(blocks: readonly RichBlock[]): number {
  return blocks.reduce((sum, block) => {
    switch (block.type) {
      case 'list':
        return block.items.reduce((items, item) => items + 1 + countBlocks(item.blocks), sum + 1);
      case 'table':
        return sum + 1 + block.cells.length;
      case 'blockquote':
      case 'details':
        return sum + 1 + countBlocks(block.blocks);
      default:
        return sum + 1;
    }
  }, 0);
}

/** Marks what Telegram finds itself in ordinary text. */
function detectInBlock(block: RichBlock): RichBlock {
  switch (block.type) {
    case 'paragraph':
    case 'heading':
    case 'footer':
    case 'expandable_blockquote':
    case 'pullquote':
      return { ...block, text: detect(block.text) };
    case 'blockquote':
      return { ...block, blocks: block.blocks.map(detectInBlock) };
    case 'details':
      return { ...block, summary: detect(block.summary), blocks: block.blocks.map(detectInBlock) };
    case 'list': {
      const items = block.items.map((it) => ({ ...it, blocks: it.blocks.map(detectInBlock) }));
      return { ...block, items };
    }
    case 'table': {
      const cells = block.cells.map((row) =>
        row.map((cell) => (cell.text === undefined ? cell : { ...cell, text: detect(cell.text) })),
      );
      return { ...block, cells };
    }
    default:
      return block;
  }
}

function detect(text: RichText): RichText {
  if (typeof text === 'string') return joined(detectInString(text));
  if (Array.isArray(text)) return joined(text.flatMap((part) => [detect(part)].flat()));
  switch (text.type) {
    case 'bold':
    case 'italic':
    case 'underline':
    case 'strikethrough':
    case 'spoiler':
    case 'marked':
    case 'reference':
      return { ...text, text: detect(text.text) };
    default:
      return text;
  }
}

function detectInString(text: string): RichText[] {
  const parts: RichText[] = [];
  let end = 0;
  for (const { type, offset, length } of findEntities(text)) {
    const value = text.slice(offset, offset + length);
    const part = detected(type, value);
    if (part === undefined) continue;
    if (offset > end) parts.push(text.slice(end, offset));
    parts.push(part);
    end = offset + length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

function detected(type: string, text: string): RichText | undefined {
  switch (type) {
    case 'url':
      return { type, text, url: /^https?:/i.test(text) ? text : `http://${text}` };
    case 'email':
      return { type: 'email_address', text, email_address: text };
    case 'mention':
      return { type, text, username: text.slice(1) };
    case 'hashtag':
      return { type, text, hashtag: text.slice(1) };
    case 'cashtag':
      return { type, text, cashtag: text.slice(1) };
    case 'bot_command':
      return { type, text, bot_command: text };
    default:
      return undefined;
  }
}

function plainBlocks(blocks: readonly RichBlock[]): string {
  return blocks.map(plainBlock).join('\n');
}

function plainBlock(block: RichBlock): string {
  switch (block.type) {
    case 'mathematical_expression':
      return block.expression;
    case 'list':
      return block.items
        .map(({ label, blocks, has_checkbox: box, is_checked: isChecked }) => {
          const mark = box === true ? (isChecked === true ? '☑' : '☐') : label;
          return `${mark} ${plainBlocks(blocks).replaceAll('\n', '\n  ')}`;
        })
        .join('\n');
    case 'blockquote':
      return plainBlocks(block.blocks);
    case 'details':
      return `${plainText(block.summary)}\n${plainBlocks(block.blocks)}`;
    case 'table':
      return block.cells
        .map((row) => row.map(({ text }) => plainText(text ?? '')).join(' | '))
        .join('\n');
    case 'paragraph':
    case 'heading':
    case 'pre':
    case 'footer':
    case 'expandable_blockquote':
    case 'pullquote':
    case 'thinking':
      return plainText(block.text);
    default:
      return '';
  }
}

function plainText(text: RichText): string {
  if (typeof text === 'string') return text;
  if (Array.isArray(text)) return text.map(plainText).join('');
  switch (text.type) {
    case 'custom_emoji':
      return text.alternative_text;
    case 'mathematical_expression':
      return text.expression;
    case 'anchor':
      return '';
    case 'button':
      return plainText(text.button.text);
    default:
      return plainText(text.text);
  }
}
