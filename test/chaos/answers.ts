import type { Behaviour } from '../support/model-server.ts';

/** An answer as the model gave it. Every word of it stands in no other answer. */
export interface GivenAnswer {
  /** Which call of the model it is of: 1, 2, 3 … */
  call: number;
  /** The mark of the message that was asked last; null: there was none. */
  to: string | null;
  text: string;
}

const wordPattern = /\ba\d+w\d+\b/g;
const markPattern = /\bm\d+q\b/g;

/** The marks that people's messages carry, `m1q`, `m2q` …, in the order in which they stand in a text. */
export function marksOf(text: string): string[] {
  return text.match(markPattern) ?? [];
}

/** The words of answers in a text, in order; of a text without any, its letters and digits. */
export function wordsOf(text: string): string {
  const words = text.match(wordPattern);
  return words === null ? text.replaceAll(/[^\p{L}\p{N}]+/gu, '') : words.join(' ');
}

/** Which word of an answer a text begins with, from 0; -1: it has none. */
export function firstWordOf(text: string): number {
  return Number(/\ba\d+w(\d+)\b/.exec(text)?.[1] ?? -1);
}

/** What the model says to what it was told: short or long, with code in it or not, as a random number in [0, 1) wants. */
export function answerOf(call: number, question: string, random: () => number): GivenAnswer {
  // In a group the one who names the bot, whatever others said since.
  const asked = /@\w+ this is m\d+q/.test(question)
    ? question
        .matchAll(/@\w+ this is (m\d+q)/g)
        .toArray()
        .at(-1)?.[1]
    : marksOf(question).at(-1);
  const to = asked ?? null;
  const kind = random();
  let words = 0;
  const some = (count: number): string[] =>
    Array.from({ length: count }, () => `a${call}w${words++}`);
  const paragraph = (count: number): string => `${some(count).join(' ')}.\n\n`;
  const code = (lines: number): string => {
    const rows = Array.from({ length: lines }, () => `const ${some(2).join(' = ')};\n`);
    return `\`\`\`ts\n${rows.join('')}\`\`\`\n\n`;
  };
  let text = `To ${to ?? 'nobody'}: ${some(3).join(' ')}, `;
  if (kind < 0.6) text += `${some(8 + Math.floor(random() * 20)).join(' ')}.`;
  else if (kind < 0.8) text += paragraph(20) + code(4) + paragraph(10);
  // Two parts or three; the code goes over the place where they are cut.
  else text += paragraph(250) + code(90 + Math.floor(random() * 150)) + paragraph(40);
  return { call, to, text: text.trimEnd() };
}

/** As the model server gives it: in pieces, the first of a few words. */
export function streamOf({ text }: GivenAnswer, random: () => number): Behaviour {
  const pieces = 4 + Math.floor(random() * 5);
  const first = text.indexOf(',') + 1;
  const size = Math.ceil((text.length - first) / pieces);
  const tokens = [text.slice(0, first)];
  for (let at = first; at < text.length; at += size) tokens.push(text.slice(at, at + size));
  return { type: 'answer', tokens, delayMs: 10 + Math.floor(random() * 50) };
}
