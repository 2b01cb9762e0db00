import { z } from 'zod';
import { cutToBytes } from '../../core/cut-to-bytes.ts';
import { splitSkill } from '../../core/skills.ts';
import type { SkillFiles } from '../../ports/skill-files.ts';
import type { Tool } from '../../ports/tool.ts';
import { typedTool } from './typed-tool.ts';

/** What one loading gives at most, in bytes. */
const MAX_LOADED_BYTES = 64 * 1024;

const skillSchema = z.strictObject({
  name: z.string().max(64).describe('The name of the skill.'),
  file: z
    .string()
    .min(1)
    .max(1000)
    .describe('A file of the skill, such as "references/api.md"; without it, its instructions.')
    .optional(),
});

/** Loads a skill of the calling agent; for agents that have skills. */
export function loadSkillTool(files: SkillFiles): Tool {
  return typedTool({
    name: 'load_skill',
    description: 'Loads the instructions of one of your skills, or a file that belongs to it.',
    schema: skillSchema,
    builtin: 'load_skill',
    action: () => null,
    harmless: () => true,
    shown: ({ name, file }) =>
      `Load ${file === undefined ? '' : `${JSON.stringify(file)} of `}the skill ${JSON.stringify(name)}`,
    isTrusted: true,
    effect: 'pure',
    onInterrupt: 'retry',
    async run({ name, file }, { caller }) {
      const { skills } = caller.agent;
      const skill = skills.find((one) => one.name === name);
      if (!skill) {
        const known = skills.map((one) => one.name).join(', ') || 'none';
        return { outcome: 'error', content: `You have no skill ${name}. Your skills: ${known}.` };
      }
      const reading = await files.read(skill.dir, file ?? 'SKILL.md');
      const what = file ?? 'SKILL.md';
      if (!reading.ok) {
        const content = `${what} of ${name} cannot be loaded: ${reading.reason}.`;
        return { outcome: 'error', content };
      }
      if (what !== 'SKILL.md') return { outcome: 'ok', content: bounded(reading.text) };
      const split = splitSkill(reading.text);
      if (!split.ok) {
        const content = `${what} of ${name} cannot be loaded: line ${split.line}: ${split.reason}.`;
        return { outcome: 'error', content };
      }
      const others = await files.list(skill.dir);
      const end =
        others.length === 0 ? '' : `\n\n[Files of this skill: ${bounded(others.join(', '))}]`;
      return { outcome: 'ok', content: `${bounded(split.body)}${end}` };
    },
  });
}

function bounded(text: string): string {
  const kept = cutToBytes(text, MAX_LOADED_BYTES);
  const left = text.length - kept.length;
  return left === 0 ? text : `${kept}\n[The rest, ${left} characters, is left out.]`;
}
