import type { EventOf } from '@duragent/protocol';
import type { Agent } from '../agent.ts';
import { cutToBytes } from '../cut-to-bytes.ts';
import { eventTokens } from '../session/event-tokens.ts';
import { estimateTokens, utf8Length } from '../utf8.ts';

type Finished = EventOf<'tool_finished'>;
type Truncation = Agent['session']['toolResultTruncation'];
type ResultLimit = { maxTokens: number; truncation: Truncation };

/** A tool's result as the model is shown it, and what that takes. */
export interface ShownResult {
  content: string;
  tokens: number;
}

/** Each result is measured and cut once: it comes again with every call. */
const shortened = new WeakMap<Finished, ResultLimit & { shown: ShownResult }>();

/** A result within the agent's limit, the same at every call: too much of it is left out, and the model told. */
export function shortResult(event: Finished, limit: ResultLimit): ShownResult {
  const known = shortened.get(event);
  if (known?.maxTokens === limit.maxTokens && known.truncation === limit.truncation) {
    return known.shown;
  }
  const tokens = eventTokens(event);
  const isShort = tokens - 1 <= limit.maxTokens;
  const content = isShort ? event.content : shorten(event.content, limit);
  const shown = { content, tokens: isShort ? tokens : 1 + estimateTokens(content) };
  shortened.set(event, { ...limit, shown });
  return shown;
}

/** A result that gave way to what is newer: the model is told that it was there. */
export function maskedResult(event: Finished, limit: ResultLimit): ShownResult {
  const short = shortResult(event, limit);
  const content = `[result left out; ${event.content.length} characters]`;
  const tokens = 1 + estimateTokens(content);
  return tokens < short.tokens ? { content, tokens } : short;
}

/** A text of about so many tokens, with a note of how much of it is left out; `what` it is stands in the note. */
export function shorten(
  text: string,
  { maxTokens, truncation }: ResultLimit,
  what = 'this result',
): string {
  const bytes = maxTokens * 4;
  const note = (left: number, of: string): string => `[${of}, ${left} characters, is left out.]`;
  switch (truncation) {
    case 'head': {
      const head = cutToBytes(text, bytes).toWellFormed();
      return `${head}\n${note(text.length - head.length, `The rest of ${what}`)}`;
    }
    case 'tail': {
      const tail = lastBytes(text, bytes);
      return `${note(text.length - tail.length, `The beginning of ${what}`)}\n${tail}`;
    }
    case 'both': {
      const head = cutToBytes(text, Math.ceil(bytes / 2)).toWellFormed();
      const tail = lastBytes(text.slice(head.length), Math.floor(bytes / 2));
      const left = text.length - head.length - tail.length;
      return `${head}\n${note(left, `The middle of ${what}`)}\n${tail}`;
    }
  }
}

/** The end of a text that takes at most so many bytes of UTF-8, never cut within a character. */
function lastBytes(text: string, max: number): string {
  // No character takes fewer bytes than UTF-16 units.
  let kept = max === 0 ? '' : text.slice(-max);
  while (utf8Length(kept) > max) {
    kept = kept.slice(Math.max(1, Math.ceil((utf8Length(kept) - max) / 3)));
  }
  const isHalf = /^[\udc00-\udfff]/.test(kept);
  return (isHalf ? kept.slice(1) : kept).toWellFormed();
}
