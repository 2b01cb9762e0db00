import type { Agent } from '../agent.ts';
import { maskedResult, type ShownResult, shortResult } from './tool-results.ts';
import type { Unit } from './units.ts';

/** Where the history that a model is shown begins, and which of its tool results are masked. */
interface Cut {
  /** Units placed from this seq on are shown. */
  from: number;
  /** Results up to this seq are masked, but for the first few that are shown. */
  masked: number;
}

type ResultRules = Pick<
  Agent['session'],
  'maxToolResultTokens' | 'toolResultTruncation' | 'toolResultKeepFirst' | 'toolResultKeepLast'
>;

/** Parts of the budget at which something is done, and down to which it is done: seldom, and then enough for a while. */
const MASK_AT = 0.9;
const CUT_TO = 0.75;
const SUMMARIZE_TO = 0.6;
/** Part of the budget that has to be gained, or nothing is moved before it must be. */
const WORTH = 0.1;
/** Part of the budget that has to have come after a summary failed, before it is tried again. */
const RETRY_AFTER = 0.25;

/**
 * Fits the history into a budget of tokens. Nothing moves as long as it fits; when it must, tool
 * results are masked first, and then the oldest units left out, down to well below the budget: so
 * call after call begins with the same bytes. At least the last unit is shown.
 * @param cut what the call before was shown.
 * @param pinned tokens of what is shown although its unit is left out, by the unit's index.
 */
export function fit(
  units: readonly Unit[],
  cut: Cut,
  options: {
    budget: number;
    rules: ResultRules;
    pinned: ReadonlyMap<number, number>;
    /** How far a summary was tried in vain, 0: none was; null: none is wanted. */
    summary: { failed: number } | null;
  },
): Cut & {
  /** Up to where the history is to be summarized before it must be cut; null: it has room. */
  summarizeUpTo: number | null;
} {
  const { budget, rules, pinned, summary } = options;
  const costOf = (masked: number): Cost => new Cost(units, masked, rules, pinned);
  const first = firstShown(units, cut.from);
  let { masked } = cut;
  let cost = costOf(masked);
  const isFull = cost.from(first) > budget;
  if (cost.from(first) > MASK_AT * budget) {
    const next = Math.max(masked, maskable(units, first, rules.toolResultKeepLast));
    const after = costOf(next);
    const gain = cost.from(first) - after.from(first);
    if (isFull ? gain > 0 : gain >= WORTH * budget) {
      masked = next;
      cost = after;
    }
  }
  const tokens = cost.from(first);
  const isLong = tokens > (isFull ? CUT_TO : MASK_AT) * budget;
  const summarizeUpTo =
    summary && isLong ? summarizable(units, cost, { budget, failed: summary.failed }) : null;
  // Where a summary comes, it cuts; until then the rest may stay as long as it fits.
  const mustCut = tokens > budget || (isFull && isLong && summarizeUpTo === null);
  const from = mustCut ? cost.firstWithin(first, CUT_TO * budget) : cut.from;
  return { from: Math.max(cut.from, from), masked, summarizeUpTo };
}

/** The index of the first unit that is shown; the last one always is. */
export function firstShown(units: readonly Unit[], from: number): number {
  const index = units.findIndex((unit) => unit.at >= from);
  return index < 0 ? Math.max(0, units.length - 1) : index;
}

/** Whether a history may begin with a unit: those of one place go together. */
function isPlace(units: readonly Unit[], i: number): boolean {
  return i === 0 || (units[i - 1]?.at ?? 0) < (units[i]?.at ?? 0);
}

/** Seq of the last result that may be masked. */
function maskable(units: readonly Unit[], first: number, keepLast: number): number {
  const results = units
    .slice(first)
    .flatMap((unit) => (unit.kind === 'answer' ? unit.results : []));
  return results.at(-1 - keepLast)?.event.seq ?? 0;
}

/** Where a summary may end: what stays takes little enough, and none of it was said before that. */
function summarizable(
  units: readonly Unit[],
  cost: Cost,
  { budget, failed }: { budget: number; failed: number },
): number | null {
  let lowest = Infinity;
  let found: number | null = null;
  for (let i = units.length - 1; i > 0; i -= 1) {
    const unit = units[i];
    if (!unit) break;
    lowest = Math.min(lowest, unit.first);
    if (cost.from(i) > SUMMARIZE_TO * budget && found !== null) break;
    if (lowest >= unit.at && isPlace(units, i)) found = i;
  }
  const at = found === null ? 0 : (units[found]?.at ?? 0);
  if (found === null || at - 1 <= failed) return null;
  if (failed > 0) {
    const tried = units.findIndex((unit) => unit.at > failed);
    if (cost.from(tried) - cost.from(found) < RETRY_AFTER * budget) return null;
  }
  return at - 1;
}

/** What units take, from each of them to the end. */
class Cost {
  readonly #units: readonly Unit[];
  readonly #rest: number[];
  /** For each unit, how many results stand before it. */
  readonly #resultsBefore: number[] = [];
  /** What it takes more to show the results before the nth whole, where they are masked. */
  readonly #unmasked: number[] = [0];
  readonly #pinned: number[] = [0];
  readonly #keepFirst: number;

  constructor(
    units: readonly Unit[],
    masked: number,
    rules: ResultRules,
    pinned: ReadonlyMap<number, number>,
  ) {
    this.#units = units;
    this.#keepFirst = rules.toolResultKeepFirst;
    this.#rest = Array.from({ length: units.length + 1 }, () => 0);
    const own: number[] = [];
    for (const [i, unit] of units.entries()) {
      this.#resultsBefore.push(this.#unmasked.length - 1);
      this.#pinned.push((this.#pinned[i] ?? 0) + (pinned.get(i) ?? 0));
      let tokens = unit.tokens;
      for (const { event } of unit.kind === 'answer' ? unit.results : []) {
        const whole = shortResult(event, limitOf(rules)).tokens;
        const shown = event.seq <= masked ? maskedResult(event, limitOf(rules)).tokens : whole;
        tokens += shown;
        this.#unmasked.push((this.#unmasked.at(-1) ?? 0) + whole - shown);
      }
      own.push(tokens);
    }
    for (let i = units.length - 1; i >= 0; i -= 1) {
      this.#rest[i] = (this.#rest[i + 1] ?? 0) + (own[i] ?? 0);
    }
  }

  /** Estimated tokens of what is shown when unit `first` is the first. */
  from(first: number): number {
    const before = this.#resultsBefore[first] ?? 0;
    const kept = Math.min(before + this.#keepFirst, this.#unmasked.length - 1);
    const whole = (this.#unmasked[kept] ?? 0) - (this.#unmasked[before] ?? 0);
    return (this.#rest[first] ?? 0) + Math.max(0, whole) + (this.#pinned[first] ?? 0);
  }

  /** The place from which on the rest fits, or else the last. */
  firstWithin(first: number, limit: number): number {
    let at = 0;
    for (let i = first; i < this.#units.length; i += 1) {
      if (!isPlace(this.#units, i)) continue;
      at = this.#units[i]?.at ?? 0;
      if (this.from(i) <= limit) break;
    }
    return at;
  }
}

function limitOf(rules: ResultRules) {
  return { maxTokens: rules.maxToolResultTokens, truncation: rules.toolResultTruncation };
}

/** A result as it is shown; `number` counts those that are, from 0. */
export function showResult(
  event: Parameters<typeof shortResult>[0],
  number: number,
  masked: number,
  rules: ResultRules,
): ShownResult {
  const isMasked = event.seq <= masked && number >= rules.toolResultKeepFirst;
  return (isMasked ? maskedResult : shortResult)(event, limitOf(rules));
}
