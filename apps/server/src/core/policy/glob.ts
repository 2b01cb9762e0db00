/** A pattern in which only `*` is special, cut at its stars; without one, it is the text itself. */
export interface Glob {
  head: string;
  /** What stands between two stars, in order. */
  middles: readonly string[];
  /** null: there is no star. */
  tail: string | null;
}

/** Makes a pattern of the texts around its stars: `['a', 'b']` is `a*b`. */
export function globOf(pieces: readonly string[]): Glob {
  const [head = '', ...rest] = pieces;
  const tail = rest.pop() ?? null;
  return { head, middles: rest.filter((piece) => piece !== ''), tail };
}

/** Reads a pattern in which every `*` is a star. */
export function readGlob(text: string): Glob {
  return globOf(text.split('*'));
}

/**
 * Whether a pattern stands for the whole of a text. The pieces are looked for one after another and
 * never again, so that no text and no pattern makes it slow.
 */
export function matchesGlob({ head, middles, tail }: Glob, text: string): boolean {
  if (tail === null) return text === head;
  const end = text.length - tail.length;
  if (!text.startsWith(head) || !text.endsWith(tail)) return false;
  let from = head.length;
  for (const middle of middles) {
    const at = text.indexOf(middle, from);
    if (at === -1) return false;
    from = at + middle.length;
  }
  return from <= end;
}
