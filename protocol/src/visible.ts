/** Control, format and bidirectional characters, line ends and empty letters: what cannot be seen, or makes other text look like something else. */
export const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029\u115f\u1160\u2800\u3164\uffa0]/gu;

/**
 * A text that others chose, whole, with all that cannot be seen written out as `⟨U+202E⟩`; line
 * ends and tabs stay. For what a person decides about: nothing may hide in it.
 */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (char) => {
    if (char === '\n' || char === '\t') return char;
    const code = char.codePointAt(0) ?? 0;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}
