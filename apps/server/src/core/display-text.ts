import { INVISIBLE } from '@duragent/protocol';

/** A text that others chose, such as a person's name, made safe to show in one line of at most `max` code points. */
export function oneLine(text: string, max: number): string {
  const line = text
    .slice(0, 8 * max)
    .replace(/[^\S\ufeff]+/g, ' ')
    .replace(INVISIBLE, '')
    .trim();
  return Array.from(line).slice(0, max).join('').trim();
}
