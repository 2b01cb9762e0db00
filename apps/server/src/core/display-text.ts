/** Control, format and bidirectional characters, line ends and empty letters: nothing that could look like something else. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029\u115f\u1160\u2800\u3164\uffa0]/gu;

/** A text that others chose, such as a person's name, made safe to show in one line of at most `max` code points. */
export function oneLine(text: string, max: number): string {
  const line = text
    .slice(0, 8 * max)
    .replace(/[^\S\ufeff]+/g, ' ')
    .replace(INVISIBLE, '')
    .trim();
  return Array.from(line).slice(0, max).join('').trim();
}
