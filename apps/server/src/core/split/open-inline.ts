/** A run of `*`, `_` or `~` that may open what another one closes. */
interface Opener {
  mark: string;
  count: number;
  at: number;
  closes: boolean;
}

/** Openers that are kept; more are text. */
const MAX_OPEN = 50;
/** Between `<` and `>`, or between the brackets and the end of a link. */
const MAX_LINK = 1024;

const space = /^\s?$/u;
const punctuation = /^[\p{P}\p{S}]$/u;

/** How much of a paragraph that is being written can be shown, and the marks that then close it. */
export function closeInline(text: string): { end: number; closing: string } {
  const { hold, code, openers } = scan(text);
  let end = trimmed(text, hold);
  if (code !== null) {
    if (end >= code.content)
      return { end, closing: text.slice(code.at, code.content) + marksOf(openers) };
    end = trimmed(text, code.at);
  }
  let last = openers.at(-1);
  // Marks with nothing behind them are not shown.
  while (last !== undefined && last.at + last.count >= end) {
    end = Math.min(end, trimmed(text, last.at));
    openers.pop();
    last = openers.at(-1);
  }
  return { end, closing: marksOf(openers) };
}

function marksOf(openers: readonly Opener[]): string {
  return openers
    .map(({ mark, count }) => mark.repeat(count))
    .toReversed()
    .join('');
}

/** Finds where the first thing begins whose meaning is not known yet, and what is open there. */
function scan(text: string): {
  hold: number;
  code: { at: number; content: number } | null;
  openers: Opener[];
} {
  const openers: Opener[] = [];
  const brackets: { at: number; openers: number }[] = [];
  let noTagBefore = 0;
  const end = (hold: number, code: { at: number; content: number } | null = null) => {
    const bracket = brackets[0];
    if (bracket === undefined || bracket.at > hold) return { hold, code, openers };
    return { hold: bracket.at, code: null, openers: openers.filter(({ at }) => at < bracket.at) };
  };
  let at = 0;
  while (at < text.length) {
    const character = text.charAt(at);
    switch (character) {
      case '\\':
        if (at + 1 >= text.length) return end(at);
        at += 2;
        break;
      case '`': {
        const content = runEnd(text, at);
        if (content === text.length) return end(at);
        const close = closingRun(text, content, content - at);
        // The last run may still grow, and then close nothing.
        if (close === null || runEnd(text, close) === text.length) {
          return end(close ?? lastRun(text), { at, content });
        }
        at = runEnd(text, close);
        break;
      }
      case '[':
        brackets.push({ at, openers: openers.length });
        at += 1;
        break;
      case ']': {
        const bracket = brackets.at(-1);
        at += 1;
        if (bracket === undefined) break;
        if (at >= text.length) return end(bracket.at);
        if (text[at] === '(') {
          const close = linkEnd(text, at);
          if (close === 'open') return end(bracket.at);
          if (close !== null) {
            at = close;
            // What was open within the link ends with it.
            openers.length = Math.min(openers.length, bracket.openers);
          }
        }
        brackets.pop();
        break;
      }
      case '<': {
        const next = text.charAt(at + 1);
        if (next === '') return end(at);
        if (at < noTagBefore || !/[a-zA-Z/!?]/.test(next)) {
          at += 1;
          break;
        }
        const close = tagEnd(text, at);
        if (close === 'open') return end(at);
        if (close.isTag) at = close.at;
        else {
          noTagBefore = close.at;
          at += 1;
        }
        break;
      }
      case '&':
        if (text.length - at <= 33 && /^&#?\w*$/.test(text.slice(at))) return end(at);
        at += 1;
        break;
      case '*':
      case '_':
      case '~': {
        const to = runEnd(text, at);
        if (to === text.length) return end(at);
        if (character !== '~' || to - at === 2) emphasise(openers, text, at, to);
        at = to;
        break;
      }
      default:
        at += 1;
    }
  }
  return end(text.length);
}

/** Takes one run of marks into account, as CommonMark does. */
function emphasise(openers: Opener[], text: string, at: number, to: number): void {
  const mark = text.charAt(at);
  const before = characterBefore(text, at);
  const after = String.fromCodePoint(text.codePointAt(to) ?? 0x20);
  const isBeforeText =
    !space.test(after) && (!punctuation.test(after) || /^[\s\p{P}\p{S}]?$/u.test(before));
  const isAfterText =
    !space.test(before) && (!punctuation.test(before) || /^[\s\p{P}\p{S}]?$/u.test(after));
  const isWord = mark === '_' && isBeforeText && isAfterText;
  const opens = isBeforeText && (!isWord || punctuation.test(before));
  const closes = isAfterText && (!isWord || punctuation.test(after));
  let count = to - at;
  for (let index = openers.length - 1; closes && count > 0 && index >= 0; index -= 1) {
    const opener = openers[index];
    if (opener === undefined || opener.mark !== mark) continue;
    const both = opener.closes || opens;
    if (both && (opener.count + count) % 3 === 0 && (opener.count % 3 !== 0 || count % 3 !== 0)) {
      continue;
    }
    const used = Math.min(opener.count, count);
    openers.length = index;
    if (opener.count > used) openers.push({ ...opener, count: opener.count - used });
    count -= used;
  }
  if (opens && count > 0 && openers.length < MAX_OPEN) {
    openers.push({ mark, count, at: to - count, closes });
  }
}

function characterBefore(text: string, at: number): string {
  if (at === 0) return '';
  const low = text.charCodeAt(at - 1);
  const isPair = low >= 0xdc00 && low < 0xe000 && at > 1;
  return isPair ? text.slice(at - 2, at) : text.charAt(at - 1);
}

/** Where the run of one character ends that begins here. */
function runEnd(text: string, at: number): number {
  let end = at + 1;
  while (end < text.length && text[end] === text[at]) end += 1;
  return end;
}

/** Where the next run of exactly so many backticks begins. */
function closingRun(text: string, from: number, length: number): number | null {
  let at = text.indexOf('`', from);
  while (at !== -1) {
    const end = runEnd(text, at);
    if (end - at === length) return at;
    at = text.indexOf('`', end);
  }
  return null;
}

/** Where the backticks at the end of a text begin; its end when there are none. */
function lastRun(text: string): number {
  let at = text.length;
  while (at > 0 && text[at - 1] === '`') at -= 1;
  return at;
}

/** Where a link's `(…)` ends; null: it is none. */
function linkEnd(text: string, from: number): number | 'open' | null {
  let depth = 0;
  const stop = Math.min(text.length, from + MAX_LINK);
  for (let at = from; at < stop; at += 1) {
    const character = text[at];
    if (character === '\\') at += 1;
    else if (character === '(') depth += 1;
    else if (character === ')') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return stop < text.length ? null : 'open';
}

/** Where a tag or an address in `<…>` ends; where no tag is, the place up to which there is no end of one. */
function tagEnd(text: string, from: number): { isTag: boolean; at: number } | 'open' {
  const stop = Math.min(text.length, from + MAX_LINK);
  for (let at = from + 1; at < stop; at += 1) {
    const character = text[at];
    if (character === '>') return { isTag: true, at: at + 1 };
    if (character === '\n' || character === '\r') return { isTag: false, at };
  }
  return stop < text.length ? { isTag: false, at: stop } : 'open';
}

function trimmed(text: string, end: number): number {
  return text.slice(0, end).trimEnd().length;
}
