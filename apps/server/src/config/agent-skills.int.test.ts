import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileFault } from '../core/agent.ts';
import { readAgentFolder } from './agent-folder.ts';
import { validateAgent } from './validate-agent.ts';

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duragent-skills-'));
  dir = join(root, 'bot');
  await write('agent.yaml', 'name: bot\nmodel: echo\n');
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<void> {
  const file = join(dir, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}
const skill = (name: string, description = 'd') =>
  `---\nname: ${name}\ndescription: ${description}\n---\n\n# How\n`;
const shown = (faults: FileFault[]): string[] =>
  faults.map(({ file, line, column, message }) => {
    return `${file.replace(`${dir}/`, '')}:${line}:${column}: ${message}`;
  });

it('an agent has the skills of its folder, by name', async () => {
  await write('skills/web/SKILL.md', skill('web', 'Builds pages.'));
  await write('skills/pdf/SKILL.md', skill('pdf', '>\n  Reads\n  files.\nlicense: MIT'));
  await write('skills/README.md', 'no skill');
  await write('skills/.git/SKILL.md', 'no skill');
  const { agent, faults, warnings } = await readAgentFolder(dir);
  expect([faults, warnings]).toEqual([[], []]);
  expect(agent?.skills).toEqual([
    { name: 'pdf', description: 'Reads files.\n', dir: join(dir, 'skills', 'pdf') },
    { name: 'web', description: 'Builds pages.', dir: join(dir, 'skills', 'web') },
  ]);
});

it('an agent without skills has none, and nothing is said of it', async () => {
  const { agent, warnings } = await readAgentFolder(dir);
  expect([agent?.skills, warnings]).toEqual([[], []]);
});

it('the folder of the skills may be another one', async () => {
  await write('agent.yaml', 'name: bot\nmodel: echo\nskills_dir: ./can/do\n');
  await write('can/do/pdf/SKILL.md', skill('pdf'));
  const { agent, warnings } = await readAgentFolder(dir);
  expect(agent?.skills.map(({ dir: home }) => home)).toEqual([join(dir, 'can', 'do', 'pdf')]);
  expect(warnings).toEqual([]);
});

describe('what is wrong is told of at its place, and the agent does not load', () => {
  it.each([
    [
      skill('web'),
      'SKILL.md:2:1: the skill is named "web" and its folder "pdf"; make them the same',
    ],
    [
      '# PDF',
      'SKILL.md:1:1: a skill begins with its front matter: "---", name, description, "---"',
    ],
    ['---\nname: pdf\n', 'SKILL.md:1:1: the front matter has no end; close it with a line "---"'],
    ['---\nname: pdf\n---\n', 'SKILL.md:2:1: description is missing'],
    ['---\nname: pdf\ndescription: 1\n---\n', 'SKILL.md:3:14: description: '],
    [
      skill('pdf', `"${'x'.repeat(1025)}"`),
      'SKILL.md:3:14: description: a description has at most 1024',
    ],
    [skill('pdf', '"a'), 'SKILL.md:'],
    ['---\nname: pdf\nname: pdf\ndescription: d\n---\n', 'SKILL.md:3:'],
    ['x'.repeat(256 * 1024 + 1), 'SKILL.md:1:1: the file is larger than 256 KiB'],
  ])('%.40j', async (text, message) => {
    await write('skills/pdf/SKILL.md', text);
    await write('skills/web/SKILL.md', skill('web'));
    const { faults } = await validateAgent(dir);
    expect(shown(faults)).toEqual([expect.stringContaining(`skills/pdf/${message}`)]);
    expect((await readAgentFolder(dir)).agent).toBeNull();
  });

  it.each([
    ['./no', 'skills_dir: ./no: there is no such file'],
    ['..', "skills_dir: ..: it is outside the agent's folder; move it inside"],
    ['/etc', "skills_dir: /etc: it is outside the agent's folder; move it inside"],
    ['agent.yaml', 'skills_dir: agent.yaml: this is no folder'],
  ])('skills_dir: %s', async (path, message) => {
    await write('agent.yaml', `name: bot\nmodel: echo\nskills_dir: ${path}\n`);
    const { agent, faults } = await readAgentFolder(dir);
    expect([agent, shown(faults)]).toEqual([null, [`agent.yaml:3:1: ${message}`]]);
  });

  it('of a skill that a link leads to', async () => {
    await mkdir(join(root, 'else'));
    await writeFile(join(root, 'else', 'SKILL.md'), skill('pdf'));
    await mkdir(join(dir, 'skills'));
    await symlink(join(root, 'else'), join(dir, 'skills', 'pdf'));
    const { faults } = await readAgentFolder(dir);
    expect(shown(faults)).toEqual([
      "skills/pdf/SKILL.md:1:1: it is outside the agent's folder; move it inside",
    ]);
  });

  it('of too many', async () => {
    for (let n = 0; n <= 100; n += 1)
      await mkdir(join(dir, 'skills', `s${n}`), { recursive: true });
    const { faults } = await readAgentFolder(dir);
    expect(shown(faults)).toEqual([expect.stringContaining('there are more than 100 skills')]);
  });
});

it('a folder without a SKILL.md is warned of', async () => {
  await write('skills/pdf/README.md', 'x');
  const { agent, warnings } = await readAgentFolder(dir);
  expect(agent?.skills).toEqual([]);
  expect(shown(warnings)).toEqual([
    'skills/pdf/SKILL.md:1:1: there is no SKILL.md in this folder, so it is no skill',
  ]);
});

it.each([
  ['a skill is added', () => write('skills/web/SKILL.md', skill('web'))],
  ['a skill is edited', () => write('skills/pdf/SKILL.md', skill('pdf', 'other'))],
  ['a skill is removed', () => rm(join(dir, 'skills', 'pdf'), { recursive: true })],
  ['the folder of the skills is removed', () => rm(join(dir, 'skills'), { recursive: true })],
])('it is noticed that %s', async (_, change) => {
  await write('skills/pdf/SKILL.md', skill('pdf'));
  const before = await readAgentFolder(dir);
  expect(await before.unchanged()).toBe(true);
  await change();
  expect(await before.unchanged()).toBe(false);
  expect((await readAgentFolder(dir)).agent?.hash).not.toBe(before.agent?.hash);
});

it('it is noticed that the folder of the skills appears', async () => {
  const before = await readAgentFolder(dir);
  await write('skills/web/SKILL.md', skill('web'));
  expect(await before.unchanged()).toBe(false);
});
