import { z } from 'zod';

/** A skill of an agent, in the Agent Skills format. */
export interface Skill {
  name: string;
  /** What it is for, and when to use it. */
  description: string;
  /** Absolute path of its folder. */
  dir: string;
}

/** How many skills an agent may have: each is a part of every prompt. */
export const MAX_SKILLS = 100;

const WRONG_NAME =
  'a skill is named by 1 to 64 of a-z, 0-9 and single "-", and begins and ends with none';

/** The front matter of a SKILL.md. Keys that other programs read are let through. */
export const skillSchema = z.looseObject({
  name: z
    .string()
    .max(64, WRONG_NAME)
    .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, WRONG_NAME),
  description: z
    .string()
    .max(1024, 'a description has at most 1024 characters')
    .refine((text) => text.trim() !== '', 'the description is empty; say when to use the skill'),
});

/**
 * Splits a SKILL.md.
 * @returns `frontMatter` with its opening line, so that its lines are numbered as in the file; or
 *   what is wrong, and in which line.
 */
export function splitSkill(
  text: string,
): { ok: true; frontMatter: string; body: string } | { ok: false; line: number; reason: string } {
  const lines = text.replace(/^\ufeff/, '').split('\n');
  const isFence = (line: string): boolean => /^---[ \t]*\r?$/.test(line);
  if (!isFence(lines[0] ?? '')) {
    const reason = 'a skill begins with its front matter: "---", name, description, "---"';
    return { ok: false, line: 1, reason };
  }
  const end = lines.findIndex((line, index) => index > 0 && isFence(line));
  if (end === -1) {
    const reason = 'the front matter has no end; close it with a line "---"';
    return { ok: false, line: 1, reason };
  }
  return {
    ok: true,
    frontMatter: `${lines.slice(0, end).join('\n')}\n`,
    body: lines
      .slice(end + 1)
      .join('\n')
      .trim(),
  };
}

/** What the system prompt says of an agent's skills; empty where it has none. */
export function skillsDirective(skills: readonly Skill[]): string {
  if (skills.length === 0) return '';
  const lines = skills.map(
    ({ name, description }) => `- ${name}: ${description.replace(/\s+/g, ' ').trim()}`,
  );
  return `# Skills

When a task fits one of these, load it with \`load_skill\` before you begin, and follow it.

${lines.join('\n')}`;
}
