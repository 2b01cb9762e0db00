const start =
  /^(?:#{1,6}(?:\s|$)|>|[-+*](?:\s|$)|\d{1,9}[.)](?:\s|$)|`{3}|~{3}|\||=+\s*$|-{2,}|_{3}|\*{3}|<[a-z!/?]|\[[^\]]*\]:| {4}|\t)/i;

/** Whether what was the middle of a line would be read as a heading, an item, a fence … at the beginning of one. */
export function startsBlock(text: string, at: number): boolean {
  return start.test(text.slice(at, at + 40));
}
