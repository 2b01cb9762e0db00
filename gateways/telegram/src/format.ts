import type { InputRichMessageWithoutUpload, MessageEntity } from 'grammy/types';
import { lexer } from 'marked';
import { isClear } from './format/clear-markdown.ts';
import { visibleText } from './format/entities.ts';
import { htmlOf } from './format/html.ts';
import { richBlocks } from './format/rich-blocks.ts';

/** What Telegram takes as one message, in UTF-16 units of the visible text. */
export const MAX_TEXT_LENGTH = 4096;
export const MAX_CAPTION_LENGTH = 1024;
/** Longer Markdown is not parsed: no part of a reply is that long, and some texts take the square of their length. */
const MAX_PARSED_LENGTH = 8192;

/** One way to say a text; `plain` is the one that Telegram cannot find malformed. */
export type TextForm =
  | { kind: 'rich'; rich: InputRichMessageWithoutUpload }
  | { kind: 'html'; text: string; length: number }
  | { kind: 'plain'; text: string; entities: MessageEntity[] };

/**
 * The ways to say a text, best first; the last is always `plain` and shows the text as it is.
 * None of them pings anybody, embeds media that Telegram would fetch, or makes a button: what
 * would do so is shown as text.
 */
export function textForms(written: string, format: 'markdown' | 'text'): TextForm[] {
  // Half a character makes Telegram refuse every form.
  const content = written.toWellFormed();
  const plain: TextForm = { kind: 'plain', text: content, entities: findMentions(content) };
  if (format === 'text' || content.length > MAX_PARSED_LENGTH) return [plain];
  const rich = toRich(content);
  const html = toHtml(content);
  return [
    ...(rich === null ? [] : [{ kind: 'rich' as const, rich }]),
    ...(html === null ? [] : [{ kind: 'html' as const, ...html }]),
    plain,
  ];
}

/**
 * Markdown as a rich message. Telegram's own Markdown can do more than write: HTML makes buttons,
 * `![]()` makes Telegram fetch an address, `@name` and `tg:` ping, `$` and `||` eat text. Where
 * nothing of that may be in it, Telegram gets the text as it is; else as blocks that we made.
 * @returns null when it cannot be rendered, or would be empty.
 */
export function toRich(markdown: string): InputRichMessageWithoutUpload | null {
  return withoutOverflow(() => {
    const tokens = lexer(markdown);
    if (isEmpty(htmlOf(tokens))) return null;
    if (isClear(markdown, tokens)) return { markdown };
    const blocks = richBlocks(tokens);
    // Names only ping where Telegram looks for them; bare addresses are links of ours already.
    return { blocks, ...(markdown.includes('@') ? { skip_entity_detection: true } : {}) };
  });
}

/**
 * Markdown as `parse_mode: HTML` of an ordinary message, with Telegram's tags only.
 * @returns null when it cannot be rendered, or would be empty; `length` counts as Telegram does.
 */
export function toHtml(markdown: string): { text: string; length: number } | null {
  const html = withoutOverflow(() => htmlOf(lexer(markdown)));
  if (html === null || isEmpty(html)) return null;
  return { text: html, length: visibleText(html).length };
}

/** `@name`s of a plain text as code, where Telegram finds no mention: nobody is pinged, nothing is lost. */
export function findMentions(text: string): MessageEntity[] {
  return [...text.matchAll(/(?<!\w)@\w+/g)].slice(0, 100).map((match) => ({
    type: 'code',
    offset: match.index,
    length: match[0].length,
  }));
}

/** A thousand quotations within each other are more than the stack takes: then null. */
function withoutOverflow<T>(run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function isEmpty(html: string): boolean {
  return visibleText(html).trim() === '';
}
