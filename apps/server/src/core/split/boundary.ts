import { openLeaf, type Block, type Container } from './blocks.ts';
import {
  endsSentence,
  isBetweenCharacters,
  isInsideEntity,
  isInsideMark,
  isInsidePair,
  isLineBreak,
  isSpace,
} from './characters.ts';
import type { PartLine } from './part-lines.ts';
import { startsBlock } from './starts-block.ts';

/** How good a place for a cut is; the smallest is best. */
export const rank = {
  /** Between blocks. */
  block: 0,
  /** Between items, rows and lines of code. */
  item: 1,
  /** The same within an item or a quote. */
  inner: 2,
  /** Between sentences, and lines of prose. */
  sentence: 3,
  word: 4,
  character: 5,
  /** Between words, but through a link or a piece of code. */
  wordInside: 6,
  characterInside: 7,
  /** Where a block would be left without its content, or take another form. */
  poor: 8,
  /** Through what people take for one character. */
  anywhere: 9,
} as const;
export type Rank = (typeof rank)[keyof typeof rank];

/** How good a cut before a line that is not blank is, by the state before and after it. */
export function rankBefore(before: Block, after: Block, number: number): Rank {
  const was = openLeaf(before);
  const is = openLeaf(after);
  if (was.leaf.type === 'fence' && areSame(was.containers, is.containers)) {
    if (is.leaf.type !== 'fence' || was.leaf.lines === 0) return rank.poor;
    if (is.leaf.since === was.leaf.since) return inside(is.containers);
  }
  if (is.leaf.type === 'table' && was.leaf.type === 'paragraph' && is.leaf.rows === 0) {
    return rank.poor;
  }
  if (is.leaf.type === 'table' && was.leaf.type === 'table' && is.leaf.since === was.leaf.since) {
    return was.leaf.rows === 0 ? rank.poor : inside(is.containers);
  }
  if (is.leaf.type === 'heading' && was.leaf.type === 'paragraph' && is.leaf.since < number) {
    return rank.poor;
  }
  return newest(before, after, number);
}

/** A line and what there is to know for a cut within it. */
export class LineRanks {
  readonly #text: string;
  readonly #line: PartLine;
  readonly #isCode: boolean;
  readonly #isPoor: boolean;
  /** Where its text begins behind bullets and the like. */
  readonly #textAt: number;
  readonly #before: Rank;
  readonly #behind: Rank;

  /** `behind` is the next line that is not blank. */
  constructor(text: string, line: PartLine, behind: PartLine | undefined) {
    const { leaf } = openLeaf(line.after);
    this.#text = text;
    this.#line = line;
    this.#isCode = leaf.type === 'fence' || leaf.type === 'code';
    this.#isPoor = isPoor(line, behind);
    const [lead = ''] = this.#isCode
      ? []
      : (leadingMarks.exec(text.slice(line.start, line.end)) ?? []);
    this.#textAt = line.start + lead.length;
    this.#before = line.blank ? rank.sentence : rankOfStart(text, line);
    this.#behind = behind === undefined ? rank.sentence : rankOfStart(text, behind);
  }

  /**
   * How good a cut at a place of the line is; `inside` a link or the like. Null: impossible, or
   * not worth the look as one of rank `best` is known.
   */
  rankAt(at: number, inside: boolean, best: Rank | null): Rank | null {
    const text = this.#text;
    const line = this.#line;
    if (isInsidePair(text, at) || (isLineBreak(text, at) && !isBetweenCharacters(text, at))) {
      return null;
    }
    const isInside = inside && !this.#isCode;
    if (at <= line.textAt && line.lead === '' && !line.blank) {
      if (this.#before === rank.poor) return rank.poor;
      if (isInside) return rank.wordInside;
      return changesForm.test(text.slice(line.textAt, line.textAt + 40))
        ? rank.word
        : rank.sentence;
    }
    if (at <= this.#textAt || (at >= line.end && this.#behind === rank.poor)) return rank.poor;
    if (isSpace(text, at)) {
      if (isInside) return rank.wordInside;
      return at >= line.end || endsSentence(text, at) ? rank.sentence : rank.word;
    }
    if (this.#isPoor) return rank.poor;
    if (isSpace(text, at - 1)) {
      if (!this.#isCode && startsBlock(text, at)) return rank.poor;
      if (isInside) return rank.wordInside;
      return !this.#isCode && endsSentence(text, at) ? rank.sentence : rank.word;
    }
    const isSentence = !this.#isCode && /[。！？…]/.test(text.charAt(at - 1));
    // Each character of a long word comes here: the cheap question first.
    if (best !== null && best <= rank.character && !isSentence) return null;
    if (!isBetweenCharacters(text, at)) return rank.anywhere;
    if (isInside || isInsideEntity(text, at)) return rank.characterInside;
    if (isInsideMark(text, at) || (!this.#isCode && startsBlock(text, at))) return rank.poor;
    return isSentence ? rank.sentence : rank.character;
  }
}

/** How good a cut is before a line when its bullets cannot be repeated. */
function rankOfStart(text: string, line: PartLine): Rank {
  const found = rankBefore(line.before, line.after, line.number);
  return found <= rank.inner && isDeep(text, line) ? rank.poor : found;
}

/** Whether a line goes on in items, and without them would become code: so far it is indented. */
export function isDeep(text: string, line: PartLine): boolean {
  const containers = continuedBy(line.after, line.number);
  return (
    /^(?: {4}| {0,3}\t)/.test(text.slice(line.start, line.start + 4)) &&
    containers.length > 0 &&
    containers.every(({ type }) => type === 'list') &&
    openLeaf(line.after).leaf.type !== 'code' &&
    !goesOn(line.before, line.after)
  );
}

const leadingMarks = /^(?:[ \t]*(?:>|[-+*][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]))+[ \t]*/;

/** Text that a paragraph went on with, but that would begin something else at the start of a part. */
const changesForm = /^[ \t]*(?:\d{1,9}[.)](?:\s|$)|[-+*](?:\s|$)|\[[^\]]*\]:|=+\s*$|<[a-z/])/i;

/** The first lines of a fence or a table are of no use in pieces. */
function isPoor(line: PartLine, behind: PartLine | undefined): boolean {
  const { leaf } = openLeaf(line.after);
  if (leaf.type === 'fence') return leaf.since === line.number;
  if (leaf.type === 'table') return leaf.rows === 0;
  if (behind?.number !== line.number + 1) return false;
  const next = openLeaf(behind.after).leaf;
  return next.type === 'table' && next.since === line.number;
}

/** Whether what stands open in one state goes on in a later one; a fence also when that closed it. */
export function goesOn(before: Block, after: Block): boolean {
  const was = openLeaf(before);
  const is = openLeaf(after);
  if (!areSame(was.containers, is.containers)) return false;
  if (was.leaf.type === 'fence') {
    return (
      is.leaf.type === 'none' || (is.leaf.type === 'fence' && is.leaf.since === was.leaf.since)
    );
  }
  return was.leaf.type === 'table' && is.leaf.type === 'table' && is.leaf.since === was.leaf.since;
}

/** The items and quotes that a line goes on with, outermost first. */
export function continuedBy(after: Block, number: number): Container[] {
  const { containers } = openLeaf(after);
  const fresh = containers.findIndex(
    (container) =>
      container.since === number || (container.type === 'list' && container.item.since === number),
  );
  return fresh === -1 ? containers : containers.slice(0, fresh);
}

function newest(before: Block, after: Block, number: number): Rank {
  const { containers, leaf } = openLeaf(after);
  for (const [depth, container] of containers.entries()) {
    if (container.since === number) return depth === 0 ? rank.block : rank.inner;
    if (container.type === 'list' && container.item.since === number) {
      return depth === 0 ? rank.item : rank.inner;
    }
  }
  const fresh = containers.length === 0 ? rank.block : rank.inner;
  if (leaf.type === 'none') {
    return openLeaf(before).leaf.type === 'html' ? rank.sentence : fresh;
  }
  if (leaf.since === number) return fresh;
  return leaf.type === 'code' ? inside(containers) : rank.sentence;
}

function inside(containers: Container[]): Rank {
  return containers.length === 0 ? rank.item : rank.inner;
}

/** Whether two states are in the same items and quotes. */
export function areSame(some: Container[], others: Container[]): boolean {
  return (
    some.length === others.length &&
    some.every((container, index) => {
      const other = others[index];
      if (container.type === 'list' && other?.type === 'list') {
        return container.since === other.since && container.item.since === other.item.since;
      }
      return container.type === other?.type && container.since === other.since;
    })
  );
}
