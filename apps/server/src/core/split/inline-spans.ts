/**
 * Marks where a cut would go through a piece of code, a link, an address, a tag or an escape:
 * there `[at]` is not 0. One pass over the text; what it does not close is no such piece.
 */
export function markInline(text: string): Int32Array {
  // How many pieces begin and end before each place, then their sum.
  const inside = new Int32Array(text.length + 2);
  const mark = (start: number, end: number): void => {
    inside[start + 1] = (inside[start + 1] ?? 0) + 1;
    inside[end] = (inside[end] ?? 0) - 1;
  };
  const runs = new BacktickRuns(text);
  const open: { at: number; link: number | null }[] = [];
  let tag = -1;
  let at = 0;
  while (at < text.length) {
    const character = text[at];
    if (character === '\\') {
      mark(at, at + 2);
      at += 2;
      continue;
    }
    if (character === '`') {
      const end = runs.closing(at) ?? runs.endOf(at);
      mark(at, end);
      at = end;
      continue;
    }
    if (character === '<') tag = at;
    else if (character === '>' && tag !== -1) {
      if (/^<[a-zA-Z/!?]/.test(text.slice(tag, tag + 2))) mark(tag, at + 1);
      tag = -1;
    } else if (character === '[' || character === '(') open.push({ at, link: null });
    else if (character === ']') {
      let label = open.pop();
      while (label !== undefined && text[label.at] === '(') label = open.pop();
      if (label !== undefined && text[at + 1] === '(') {
        at += 1;
        open.push({ at, link: text[label.at - 1] === '!' ? label.at - 1 : label.at });
      }
    } else if (character === ')') {
      const start = open.at(-1);
      if (start !== undefined && text[start.at] === '(') {
        open.pop();
        if (start.link !== null) mark(start.link, at + 1);
      }
    }
    at += 1;
  }
  for (let index = 1; index < inside.length; index += 1) {
    inside[index] = (inside[index] ?? 0) + (inside[index - 1] ?? 0);
  }
  return inside;
}

/** Runs of backticks, and which of them close which. */
class BacktickRuns {
  readonly #ends = new Map<number, number>();
  /** By length: where such runs begin, in order, and how many of them were passed. */
  readonly #byLength = new Map<number, { starts: number[]; passed: number }>();

  constructor(text: string) {
    for (const { 0: run, index } of text.matchAll(/`+/g)) {
      this.#ends.set(index, index + run.length);
      const same = this.#byLength.get(run.length) ?? { starts: [], passed: 0 };
      same.starts.push(index);
      this.#byLength.set(run.length, same);
    }
  }

  endOf(start: number): number {
    return this.#ends.get(start) ?? start + 1;
  }

  /** Where the code ends that this run opens; null: it opens none. Asked with starts that only grow. */
  closing(start: number): number | null {
    const same = this.#byLength.get(this.endOf(start) - start);
    if (same === undefined) return null;
    while ((same.starts[same.passed] ?? Infinity) <= start) same.passed += 1;
    const found = same.starts[same.passed];
    return found === undefined ? null : this.endOf(found);
  }
}
