import { z } from 'zod';
import { cutToBytes } from '../cut-to-bytes.ts';

const MAX_DESCRIPTION_BYTES = 1000;
const MAX_SCHEMA_BYTES = 32 * 1024;
const MAX_SCHEMA_LEVELS = 16;

/** What the front matter of a tool's README may say. Keys that other programs read are let through. */
export const cliFrontMatterSchema = z.looseObject({
  description: z.string().max(2000).optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
});
export type CliFrontMatter = z.infer<typeof cliFrontMatterSchema>;

/** What a tool takes that does not say so. */
export const ANY_PARAMETERS: Record<string, unknown> = {
  type: 'object',
  additionalProperties: true,
};

/** The first paragraph of a README, in one line; empty where there is none. */
export function firstParagraph(markdown: string): string {
  const lines = markdown.split(/\r\n?|\n/).map((line) => line.trim());
  const isText = (line: string): boolean => line !== '' && !isOrnament(line);
  const isTitle = (index: number): boolean => /^(=+|-+)$/.test(lines[index + 1] ?? '');
  const start = lines.findIndex((line, index) => isText(line) && !isTitle(index));
  if (start === -1) return '';
  const rest = lines.slice(start);
  const end = rest.findIndex((line) => !isText(line));
  return shortened(rest.slice(0, end === -1 ? rest.length : end).join(' '));
}

/** A description as it is given to models: one line of at most 1,000 bytes. */
export function shortened(text: string): string {
  return cutToBytes(text.replace(/\s+/g, ' ').trim(), MAX_DESCRIPTION_BYTES);
}

/** A heading, its underline, a rule, a fence, a picture or a comment. */
function isOrnament(line: string): boolean {
  return (
    line.startsWith('#') ||
    line.startsWith('![') ||
    line.startsWith('[![') ||
    line.startsWith('<') ||
    line.startsWith('```') ||
    /^(=+|-+|\*+|_+)$/.test(line)
  );
}

/** The parameters of a tool as its schema says. @returns or what is wrong with it. */
export function readParameters(
  value: unknown,
): { parameters: Record<string, unknown> } | { fault: string } {
  if (!isObject(value)) return { fault: 'expected a JSON Schema: an object' };
  if (value['type'] !== 'object') return { fault: 'expected a JSON Schema with "type": "object"' };
  const { properties } = value;
  if (properties !== undefined && !isObject(properties)) {
    return { fault: '"properties" is no object' };
  }
  if (levelsOf(value) > MAX_SCHEMA_LEVELS) {
    return { fault: `it is nested more than ${MAX_SCHEMA_LEVELS} levels deep; flatten it` };
  }
  if (JSON.stringify(value).length > MAX_SCHEMA_BYTES) {
    return { fault: `it is larger than ${MAX_SCHEMA_BYTES / 1024} KiB; shorten it` };
  }
  return { parameters: value };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How deep a value is nested; counting ends where it is too deep. */
function levelsOf(value: unknown): number {
  let level: unknown[] = [value];
  for (let levels = 0; ; levels += 1) {
    const objects = level.filter((each) => typeof each === 'object' && each !== null);
    if (objects.length === 0 || levels > MAX_SCHEMA_LEVELS) return levels;
    level = objects.flatMap((each) => Object.values(each ?? {}) as unknown[]);
  }
}
