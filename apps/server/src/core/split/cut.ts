import type { LengthUnit } from '@duragent/protocol';
import { openLeaf, type Block } from './blocks.ts';
import { continuedBy, goesOn, isDeep, LineRanks, rank, rankBefore, type Rank } from './boundary.ts';
import { isLineBreak, isSpace, skipSpace } from './characters.ts';
import { markInline } from './inline-spans.ts';
import { lengthOf, reach } from './length.ts';
import { lineAt, readLines, stateAt, type PartLine } from './part-lines.ts';
import { closingOf, itemHead, reopeningOf, widthOf } from './seams.ts';

/** How long a text may be that a platform takes. */
export interface TextLimits {
  /** At least 64; less counts as that. */
  maxLength: number;
  unit: LengthUnit;
}

/** The smallest limit that the gateway protocol allows. */
const MIN_LENGTH = 64;

/** Where a part ends, what closes it, and what the next one begins with. */
interface Cut {
  to: number;
  suffix: string;
  next: string;
}

/** A place between two lines. */
interface Place {
  at: number;
  rank: Rank;
  suffix: string;
  /** The bullets that the next part begins with. */
  head: string;
  /** The number of the line behind it. */
  line: number;
}

/** Finds where a part ends that begins at `from` with `prefix`. It is never cut before it is half full. */
export class PartCutter {
  readonly #text: string;
  readonly #limits: TextLimits;
  readonly #from: number;
  /** What the prefix leaves. */
  readonly #free: number;
  readonly #lines: PartLine[];
  readonly #reaches = new Map<number, number>();
  /** The white space that was asked for last. */
  #space = { from: 0, to: 0 };
  /** Where the part is half full. */
  readonly low: number;
  /** Where it is full, when nothing has to close it. */
  readonly #high: number;
  /** Nothing from here on has been looked at. */
  readonly #stop: number;

  constructor(text: string, given: TextLimits, from = 0, prefix = '') {
    const limits = { ...given, maxLength: Math.max(MIN_LENGTH, given.maxLength) };
    this.#text = text;
    this.#limits = limits;
    this.#from = from;
    this.#free = limits.maxLength - lengthOf(prefix, limits.unit);
    this.low = this.#reach(this.#half - limits.maxLength + this.#free);
    this.#high = this.#reach(this.#free);
    if (text[this.#high - 1] === '\r' && text[this.#high] === '\n') this.#high -= 1;
    this.#stop = Math.min(text.length, this.#high + limits.maxLength + 1);
    this.#lines = readLines(text, { from, to: this.#high, stop: this.#stop, prefix });
  }

  /** Whether the rest of the text fits, with nothing to close it. */
  get isLast(): boolean {
    return this.#high === this.#text.length;
  }

  /** What closes the part when it ends at `at`. */
  suffixAt(at: number): string {
    const endsLine = at === this.#from || isLineBreak(this.#text, at - 1);
    return closingOf(stateAt(this.#text, this.#lines, at), endsLine);
  }

  fits(at: number, suffix = this.suffixAt(at)): boolean {
    return at <= this.#reach(this.#free - lengthOf(suffix, this.#limits.unit));
  }

  cut(): Cut {
    const place = bestOf(this.#places());
    if (place !== null) {
      const next = place.head === '' ? this.#nextPrefix(place.at) : place.head;
      return { to: place.at, suffix: place.suffix, next };
    }
    const to = this.#placeInText();
    const suffix = this.suffixAt(to);
    return { to, suffix: this.fits(to, suffix) ? suffix : '', next: this.#nextPrefix(to) };
  }

  /**
   * Where the part ends at least, whatever the text goes on with; null: not known yet. `isBetween`
   * says that it is between two lines.
   */
  settled(): { to: number; suffix: string; isBetween: boolean } | null {
    const isWhole = this.#stop < this.#text.length;
    const finished = this.#lines.filter(({ end }) => end < this.#stop).length;
    const first = this.#lines[0]?.number ?? 0;
    const known = (place: Place): boolean => isWhole || place.line - first + 1 < finished;
    const place = bestOf(this.#places().filter(known));
    if (place !== null) return { to: place.at, suffix: place.suffix, isBetween: true };
    return isWhole ? { ...this.cut(), isBetween: false } : null;
  }

  /**
   * The places between lines where the part may end, in order. What the text has behind the line
   * that follows the one behind a place changes nothing about that place.
   */
  #places(): Place[] {
    const places: Place[] = [];
    let last: PartLine | null = null;
    for (const line of this.#lines) {
      if (line.blank) continue;
      const head = places.at(-1);
      if (head?.line === line.number - 1 && isDelimiter(line)) {
        head.rank = openLeaf(line.after).containers.length === 0 ? rank.block : rank.inner;
      }
      const place = last === null ? null : this.#placeBefore(line, last);
      if (place !== null) places.push(place);
      last = line;
    }
    return places.filter((place) => place.rank <= rank.inner);
  }

  get #half(): number {
    return Math.floor((this.#limits.maxLength - 1) / 2);
  }

  #reach(length: number): number {
    const known = this.#reaches.get(length);
    if (known !== undefined) return known;
    const found = reach(this.#text, this.#from, length, this.#limits.unit);
    this.#reaches.set(length, found);
    return found;
  }

  #placeBefore(line: PartLine, last: PartLine): Place | null {
    // White space between two lines belongs to the part before, as far as it fits.
    const start = Math.min(line.start, this.#high);
    if (start < this.low || start < last.end || this.#isGap(start)) return null;
    let found = rankBefore(line.before, line.after, line.number);
    if (found > rank.sentence) return null;
    if (found === rank.block) {
      if (openLeaf(last.after).leaf.type === 'heading') found = rank.sentence;
      else if (this.#text[last.end - 1] === ':') found = rank.item;
    }
    let at = start;
    let head = '';
    if (isDeep(this.#text, line)) {
      // It begins with the bullets of its items again; its indentation stays behind.
      at = line.textAt;
      head = itemHead(continuedBy(line.after, line.number));
      if (!this.#hasRoom(head)) head = '';
    }
    const suffix = this.suffixAt(at);
    return this.fits(at, suffix) ? { at, rank: found, suffix, head, line: line.number } : null;
  }

  /** What the next part begins with so that it goes on as it did here. */
  #nextPrefix(at: number): string {
    const text = this.#text;
    const state = stateAt(text, this.#lines, at);
    const following = this.#lines.find((line) => line.end > at && !isBlank(text, line, at));
    const isStart = lineAt(this.#lines, at)?.start === at;
    const next = isLineBreak(text, at) ? 'break' : isStart ? 'line' : 'rest';
    if (following === undefined ? isFence(state) : goesOn(state, following.after)) {
      return reopeningOf(state, next, (prefix) => this.#hasRoom(prefix));
    }
    const { containers, leaf } = openLeaf(state);
    if (next !== 'rest' || leaf.type !== 'paragraph') return '';
    // What follows the text of these items is indented like code.
    const isDeep = containers.every(({ type }) => type === 'list') && widthOf(containers) >= 4;
    const marks = isDeep ? itemHead(containers) : '';
    // The space behind a bullet may be there already.
    const head = text[at] === ' ' ? marks.replace(/ $/, '') : marks;
    return this.#hasRoom(head) ? head : '';
  }

  #hasRoom(prefix: string): boolean {
    return lengthOf(prefix, this.#limits.unit) <= this.#limits.maxLength / 3;
  }

  /** The best place within lines; the last of several. */
  #placeInText(): number {
    const text = this.#text;
    const begins = skipSpace(text, this.#from, this.#high);
    const first = lineAt(this.#lines, this.low);
    const begin = Math.max(this.#from, first === undefined ? 0 : proseStart(first));
    const inside = markInline(text.slice(begin, this.#stop));
    let best: Rank | null = null;
    let found = this.#high;
    let behind: PartLine | undefined;
    let next = this.#high + 1;
    for (const line of this.#lines.toReversed()) {
      if (line.start <= this.#high && next > this.low) {
        const ranks = new LineRanks(text, line, behind);
        const least = Math.max(this.low, line.start, begins + 1);
        for (let at = Math.min(this.#high, next - 1); at >= least; at -= 1) {
          const worth = ranks.rankAt(at, (inside[at - begin] ?? 0) > 0, best);
          if (worth === null || (best !== null && worth >= best)) continue;
          // Nothing to see would be left for the next part.
          if (at >= text.length || this.#isGap(at)) continue;
          const suffix = this.suffixAt(at);
          if (!this.fits(at, suffix)) {
            // Where it would fit is between here and where it would with what it needs here.
            const most = this.#reach(this.#free - lengthOf(suffix, this.#limits.unit));
            at = Math.max(Math.min(least, at - 1), (most + at) >> 1) + 1;
            continue;
          }
          best = worth;
          found = at;
          if (worth === rank.sentence) return found;
        }
      }
      if (!line.blank) behind = line;
      next = line.start;
    }
    return found;
  }

  /** Whether white space follows that is longer than half a part, or goes on to the end. */
  #isGap(at: number): boolean {
    if (!isSpace(this.#text, at)) return false;
    const isKnown = at < this.#space.to && at >= this.#space.from - 1;
    this.#space = {
      from: at,
      to: isKnown ? this.#space.to : skipSpace(this.#text, at, this.#stop),
    };
    const { to } = this.#space;
    // A space takes up to three bytes.
    const most = this.#limits.unit === 'bytes' ? this.#half / 3 : this.#half;
    return to >= this.#text.length || to - at > most;
  }
}

/** The best of some places; the last of several. */
function bestOf(places: readonly Place[]): Place | null {
  let best: Place | null = null;
  for (const place of places) if (best === null || place.rank <= best.rank) best = place;
  return best;
}

function isFence(state: Block): boolean {
  return openLeaf(state).leaf.type === 'fence';
}

function isDelimiter({ before, after }: PartLine): boolean {
  const { leaf } = openLeaf(after);
  return leaf.type === 'table' && leaf.rows === 0 && openLeaf(before).leaf.type === 'paragraph';
}

function isBlank(text: string, line: PartLine, at: number): boolean {
  return text.slice(Math.max(line.start, at), line.end).trim() === '';
}

/** Where the paragraph or heading begins that a line belongs to. */
function proseStart(line: PartLine): number {
  const { leaf } = openLeaf(line.after);
  return leaf.type === 'paragraph' || leaf.type === 'heading' ? leaf.at : line.start;
}
