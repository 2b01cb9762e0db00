/**
 * The value of a header, by its name in lower case, where it was sent exactly once; else null. Of
 * those that may come once only Node keeps the first, and says nothing of the others.
 */
export function onlyHeader(rawHeaders: readonly string[], wanted: string): string | null {
  let value: string | null = null;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length !== wanted.length || name.toLowerCase() !== wanted) continue;
    if (value !== null) return null;
    value = rawHeaders[i + 1] ?? null;
  }
  return value;
}
