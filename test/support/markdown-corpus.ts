import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A text as people and models write them, or as somebody would who looks for trouble. */
export interface MarkdownText {
  name: string;
  text: string;
}

const folder = path.join(import.meta.dirname, '../fixtures/markdown-corpus');

/**
 * The Markdown texts that everything is tried on that splits, formats or shows text. Each file of
 * the folder is an object of names and texts, a long text as a list of its lines: add yours there.
 */
export function markdownCorpus(): MarkdownText[] {
  const files = globSync('*.json', { cwd: folder }).toSorted();
  const stored = files.flatMap((file) => readTexts(path.join(folder, file)));
  return [...stored, { name: 'generated/100 KB', text: hundredKilobytes(stored) }];
}

function readTexts(file: string): MarkdownText[] {
  const texts: unknown = JSON.parse(readFileSync(file, 'utf8'));
  if (typeof texts !== 'object' || texts === null) throw new Error(`${file} holds no object`);
  return Object.entries(texts).map(([name, value]: [string, unknown]) => {
    const lines = Array.isArray(value) ? value : [value];
    if (!lines.every((line) => typeof line === 'string')) {
      throw new Error(`${file}: ${name} is neither a text nor a list of lines`);
    }
    return { name: `${path.basename(file, '.json')}/${name}`, text: lines.join('\n') };
  });
}

/** A long answer of all kinds of blocks. */
function hundredKilobytes(texts: readonly MarkdownText[]): string {
  const short = texts.filter(({ name, text }) => name.startsWith('answers/') && text.length < 2000);
  let whole = '';
  for (let index = 0; whole.length < 100 * 1024; index += 1) {
    whole += `## Part ${index}\n\n${short[index % short.length]?.text ?? ''}\n\n`;
  }
  return whole;
}
