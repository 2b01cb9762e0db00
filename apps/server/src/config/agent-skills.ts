import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { FileFault } from '../core/agent.ts';
import { defaultSpec } from '../core/agent-spec.ts';
import { MAX_SKILLS, skillSchema, splitSkill, type Skill } from '../core/skills.ts';
import type { Folder } from './folder.ts';
import { errorCode } from './text-file.ts';
import { readYaml } from './yaml-file.ts';

/** What the folder of an agent's skills holds. */
export interface SkillsReading {
  /** By name. */
  skills: Skill[];
  /** What is wrong with the folder itself; null: nothing. */
  reason: string | null;
  /** What is wrong with skills. */
  faults: FileFault[];
  warnings: FileFault[];
}

/**
 * Reads the names and descriptions of an agent's skills: every folder in `skillsDir` with a SKILL.md.
 * @param dir the agent's folder.
 * @param skillsDir as it is written, from the agent's folder. The usual one need not exist.
 */
export async function readSkills(
  folder: Folder,
  dir: string,
  skillsDir: string,
): Promise<SkillsReading> {
  const reading: SkillsReading = { skills: [], reason: null, faults: [], warnings: [] };
  const located = await folder.locate(skillsDir);
  if (!located.ok) {
    const isUsual = located.missing && skillsDir === defaultSpec.skills_dir;
    return isUsual ? reading : { ...reading, reason: `${skillsDir}: ${located.reason}` };
  }
  const names = await namesIn(located.path);
  if (names === null) return { ...reading, reason: `${skillsDir}: this is no folder` };
  if (names.length > MAX_SKILLS) {
    const reason = `${skillsDir}: there are more than ${MAX_SKILLS} skills; remove some`;
    return { ...reading, reason };
  }
  for (const name of names) {
    const path = join(skillsDir, name, 'SKILL.md');
    const file = join(dir, path);
    const source = await folder.read(path);
    if (source.ok) {
      const skill = readSkill(source.text, file, name);
      if (skill.ok) reading.skills.push({ ...skill.value, dir: resolve(dir, skillsDir, name) });
      else reading.faults.push(...skill.faults);
    } else if (source.missing) {
      const message = 'there is no SKILL.md in this folder, so it is no skill';
      reading.warnings.push({ file, line: 1, column: 1, message });
    } else reading.faults.push({ file, line: 1, column: 1, message: source.reason });
  }
  return reading;
}

type SkillReading =
  { ok: true; value: { name: string; description: string } } | { ok: false; faults: FileFault[] };

function readSkill(text: string, file: string, folderName: string): SkillReading {
  const split = splitSkill(text);
  if (!split.ok) {
    const { line, reason } = split;
    return { ok: false, faults: [{ file, line, column: 1, message: reason }] };
  }
  const yaml = readYaml(split.frontMatter, file, skillSchema);
  if (!yaml.ok) return yaml;
  const { name, description } = yaml.value;
  if (name === folderName) return { ok: true, value: { name, description } };
  const message = `the skill is named "${name}" and its folder "${folderName}"; make them the same`;
  const fault = yaml.at(['name'], message) ?? { file, line: 1, column: 1, message };
  return { ok: false, faults: [fault] };
}

/** The names of what may be skills, in order; null where there is no folder to list. */
async function namesIn(folder: string): Promise<string[] | null> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
      .map(({ name }) => name)
      .filter((name) => !name.startsWith('.'))
      .toSorted();
  } catch (cause) {
    if (errorCode(cause) === undefined) throw cause;
    return null;
  }
}
