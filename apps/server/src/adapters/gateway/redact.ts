/** The shortest text that counts as a secret: shorter ones are found in any sentence. */
const MIN_LENGTH = 8;
const MAX_DEPTH = 64;

/** Replaces secrets by value, wherever a text may have got them from. */
export type Redactor = (text: string) => string;

/**
 * A redactor of every text within `values` that has 8 characters or more, also of each of its
 * lines, as JSON and URLs write it, and of its beginning at the end of a text that was cut.
 */
export function redactorOf(values: unknown): Redactor {
  const secrets = new Set<string>();
  for (const text of textsIn(values, 0)) {
    for (const part of [text, ...text.split(/\r?\n/)]) {
      if (part.trim().length < MIN_LENGTH) continue;
      secrets.add(part);
      secrets.add(JSON.stringify(part).slice(1, -1));
      secrets.add(encodeURIComponent(part.toWellFormed()));
    }
  }
  // The longest first: one may hold another.
  const sorted = [...secrets].sort((a, b) => b.length - a.length);
  return (text) => {
    const whole = sorted.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
    return sorted.reduce(withoutBeginning, whole);
  };
}

const REDACTED = '[redacted]';

/** The text without the beginning of a secret at its end. */
function withoutBeginning(text: string, secret: string): string {
  for (let length = Math.min(secret.length - 1, text.length); length >= MIN_LENGTH; length -= 1) {
    if (text.endsWith(secret.slice(0, length))) return text.slice(0, -length) + REDACTED;
  }
  return text;
}

function textsIn(value: unknown, depth: number): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null || depth >= MAX_DEPTH) return [];
  return Object.values(value).flatMap((part) => textsIn(part, depth + 1));
}
