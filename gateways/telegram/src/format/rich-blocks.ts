import type { InputRichMessageWithoutUpload, RichText } from 'grammy/types';
import type { MarkedToken, Token, Tokens } from 'marked';
import { decodeEntities } from './entities.ts';
import { columnsOf } from './html.ts';
import { codeInfo, isOverfull, isShownAsLink, known, plainPart } from './tokens.ts';

/** More columns make a rich message malformed. */
export const MAX_COLUMNS = 20;

type RichBlock = NonNullable<InputRichMessageWithoutUpload['blocks']>[number];

/** What Markdown is as the blocks of a rich message. */
export function richBlocks(tokens: readonly Token[]): RichBlock[] {
  return known(tokens).flatMap((token) => richBlock(token));
}

function richBlock(token: MarkedToken): RichBlock[] {
  switch (token.type) {
    case 'space':
      return [];
    case 'heading': {
      const size = ([1, 2, 3, 4, 5, 6] as const).find((depth) => depth === token.depth) ?? 6;
      return [{ type: 'heading', text: richText(token.tokens), size }];
    }
    case 'paragraph':
      return [{ type: 'paragraph', text: richText(token.tokens) }];
    case 'code': {
      const { language, title } = codeInfo(token);
      const titles: RichBlock[] = title === '' ? [] : [{ type: 'paragraph', text: title }];
      return token.text === ''
        ? titles
        : [...titles, { type: 'pre', text: token.text, ...(language && { language }) }];
    }
    case 'blockquote':
      return [{ type: 'blockquote', blocks: richBlocks(token.tokens) }];
    case 'list':
      return [richList(token)];
    case 'table':
      if (isOverfull(token)) return [{ type: 'pre', text: token.raw.trim() }];
      if (token.header.length > MAX_COLUMNS) return [{ type: 'pre', text: columnsOf(token) }];
      return [richTable(token)];
    case 'hr':
      return [{ type: 'divider' }];
    case 'html':
    case 'def':
      // Shown as they are written: a definition that nothing refers to would be lost.
      return paragraph(token.raw.trim());
    default:
      return paragraph(richText([token]));
  }
}

function paragraph(text: RichText): RichBlock[] {
  return text === '' ? [] : [{ type: 'paragraph', text }];
}

function richList(token: Tokens.List): RichBlock {
  const first = token.start === '' ? 1 : token.start;
  const items = token.items.map((item, index) => ({
    blocks: richBlocks(item.tokens.filter(({ type }) => type !== 'checkbox')),
    ...(token.ordered ? { value: first + index } : {}),
    ...(item.task ? { has_checkbox: true as const } : {}),
    ...(item.checked === true ? { is_checked: true as const } : {}),
  }));
  return { type: 'list', items };
}

function richTable(token: Tokens.Table): RichBlock {
  const cellOf = (cell: Tokens.TableCell) => ({
    text: richText(cell.tokens),
    align: cell.align ?? ('left' as const),
    valign: 'middle' as const,
    ...(cell.header ? { is_header: true as const } : {}),
  });
  const cells = [token.header, ...token.rows].map((row) => row.map(cellOf));
  return { type: 'table', cells, is_bordered: true };
}

function richText(tokens: readonly Token[]): RichText {
  const parts = known(tokens)
    .map((token) => richPart(token))
    .filter((part) => part !== '');
  return parts.length === 1 ? (parts[0] ?? '') : parts.length === 0 ? '' : parts;
}

function richPart(token: MarkedToken): RichText {
  switch (token.type) {
    case 'strong':
      return { type: 'bold', text: richText(token.tokens) };
    case 'em':
      return { type: 'italic', text: richText(token.tokens) };
    case 'del':
      return { type: 'strikethrough', text: richText(token.tokens) };
    case 'codespan':
      return { type: 'code', text: token.text };
    case 'link':
      return richLink(token.href, richText(token.tokens));
    case 'image':
      // A link, not a picture: Telegram would fetch it, and tell its address that somebody reads.
      return richLink(token.href, token.text === '' ? 'image' : token.text);
    case 'text':
      return token.tokens === undefined ? decodeEntities(token.text) : richText(token.tokens);
    default:
      return plainPart(token);
  }
}

function richLink(href: string, text: RichText): RichText {
  if (isShownAsLink(href)) return { type: 'url', text: text === '' ? href : text, url: href };
  const address = href.replace(/^mailto:/i, '');
  if (address === '' || text === address) return text;
  return text === '' ? address : [text, ` (${address})`];
}
