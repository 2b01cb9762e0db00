import { isDeepStrictEqual } from 'node:util';
import { cutBytes, isObject, member } from './json-values.ts';

/** What a call gave, as the model reads it. */
export interface ResultText {
  isError: boolean;
  content: string;
  truncated: boolean;
}

const MAX_BLOCKS = 1000;
/** The longest name, address or type that is repeated. */
const MAX_WORD = 500;

/**
 * The result of a tool as text of at most `maxBytes` and a note: texts as they are, pictures, sounds
 * and files described, structured content as JSON where no text says the same.
 */
export function readResult(result: unknown, maxBytes: number): ResultText {
  const listed = member(result, 'content');
  // Without it, there is nothing to say; with another in its place, nobody knows what was meant.
  if (listed !== undefined && !Array.isArray(listed)) {
    return {
      isError: true,
      content: 'Its answer is no result that can be read. The call may have done its work.',
      truncated: false,
    };
  }
  const blocks: readonly unknown[] = Array.isArray(listed) ? listed : [];
  const parts = blocks.slice(0, MAX_BLOCKS).map(describeBlock);
  if (blocks.length > MAX_BLOCKS) parts.push(`[${blocks.length - MAX_BLOCKS} more blocks]`);
  const structured = member(result, 'structuredContent');
  if (structured !== undefined && !blocks.some((block) => says(block, structured))) {
    parts.push(JSON.stringify(structured));
  }
  const text = parts.join('\n').toWellFormed();
  const content = cutBytes(text, maxBytes);
  const truncated = content.length < text.length;
  return {
    isError: member(result, 'isError') === true,
    content: truncated
      ? `${content}\n[cut: the result has ${size(Buffer.byteLength(text))}, this is its beginning]`
      : content,
    truncated,
  };
}

function describeBlock(block: unknown): string {
  const type = member(block, 'type');
  switch (type) {
    case 'text':
      return textOf(member(block, 'text'));
    case 'image':
    case 'audio':
      return `[${word(member(block, 'mimeType')) || type}, ${size(base64Bytes(member(block, 'data')))}]`;
    case 'resource':
      return describeResource(member(block, 'resource'));
    case 'resource_link': {
      const words = [member(block, 'name'), member(block, 'uri'), member(block, 'mimeType')];
      return `[link: ${words.map(word).filter(Boolean).join(', ')}]`;
    }
    default:
      return `[a block of a type that is not known: ${word(type) || '?'}]`;
  }
}

function describeResource(resource: unknown): string {
  const about = ['uri', 'mimeType'].map((key) => word(member(resource, key))).filter(Boolean);
  const text = member(resource, 'text');
  if (typeof text === 'string') return `[${about.join(', ')}]\n${text}`;
  return `[${[...about, size(base64Bytes(member(resource, 'blob')))].join(', ')}]`;
}

/** Whether a text block holds this value as JSON, as servers repeat it for older clients. */
function says(block: unknown, value: unknown): boolean {
  if (member(block, 'type') !== 'text') return false;
  const text = textOf(member(block, 'text'));
  if (!isObject(value) && !Array.isArray(value)) return text === JSON.stringify(value);
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    return isDeepStrictEqual(JSON.parse(text), value);
  } catch {
    return false;
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function word(value: unknown): string {
  return textOf(value).slice(0, MAX_WORD);
}

function base64Bytes(value: unknown): number {
  return Math.floor((textOf(value).length * 3) / 4);
}

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
