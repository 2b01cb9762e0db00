import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileFault } from '../core/agent.ts';
import { readTextFile } from './text-file.ts';

/** The most tools that one folder may hold. */
const MAX_FOUND_TOOLS = 64;

/**
 * Programs in the folder `tools` of an agent that are left out, because no README says what they
 * are for. `declared`: the commands that the agent names itself, which need none.
 */
export async function undescribedTools(
  dir: string,
  declared: readonly string[],
): Promise<FileFault[]> {
  const named = new Set(declared.map((command) => join(dir, command)));
  const faults: FileFault[] = [];
  for (const name of (await namesIn(join(dir, 'tools'))).slice(0, MAX_FOUND_TOOLS)) {
    const folder = join(dir, 'tools', name);
    const programs = (await namesIn(folder)).filter((each) => each.startsWith('run'));
    if (programs.length === 0 || programs.some((each) => named.has(join(folder, each)))) continue;
    const file = join(folder, 'README.md');
    const readme = await readTextFile(file);
    if (readme.ok && readme.text.trim() !== '') continue;
    const why = readme.ok
      ? 'it says nothing'
      : readme.missing
        ? 'there is no README.md'
        : readme.reason;
    faults.push({ file, line: 1, column: 1, message: `${why}, so ${LEFT_OUT}` });
  }
  return faults;
}

const LEFT_OUT = 'the tool is left out: write one paragraph about what it is for';

/** Empty where there is no such folder. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch {
    return [];
  }
}
