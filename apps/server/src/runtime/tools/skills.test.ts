import { expect, it } from 'vitest';
import type { ToolCaller, ToolResult } from '../../ports/tool.ts';
import { newId } from '../ids.ts';
import { testAgent } from '../testing.ts';
import { loadSkillTool } from './skills.ts';

const files = new Map([
  ['/a/skills/pdf SKILL.md', '---\nname: pdf\n---\n\n# How\n'],
  ['/a/skills/pdf references/api.md', '---\nall of it'],
  ['/a/skills/web SKILL.md', 'broken since'],
  ['/a/skills/long SKILL.md', `---\n---\n${'ä'.repeat(40_000)}`],
]);
const tool = loadSkillTool({
  async read(dir, file) {
    const text = files.get(`${dir} ${file}`);
    return text === undefined ? { ok: false, reason: 'there is no such file' } : { ok: true, text };
  },
  list: async (dir) => (dir.endsWith('pdf') ? ['references/api.md', 'scripts/run.sh'] : []),
});

const skills = ['long', 'pdf', 'web'].map((name) => {
  return { name, description: 'd', dir: `/a/skills/${name}` };
});
const caller: ToolCaller = {
  session: newId('session'),
  turn: newId('turn'),
  call: newId('call'),
  agent: testAgent({ skills }),
};

function run(args: Record<string, unknown>): Promise<ToolResult> {
  const { signal } = new AbortController();
  return tool.run(args, { signal, onOutput: () => undefined, caller });
}

it('gives the instructions without the front matter, and names what belongs to the skill', async () => {
  expect(await run({ name: 'pdf' })).toEqual({
    outcome: 'ok',
    content: '# How\n\n[Files of this skill: references/api.md, scripts/run.sh]',
  });
});

it('gives a file as it is', async () => {
  const { content } = await run({ name: 'pdf', file: 'references/api.md' });
  expect(content).toBe('---\nall of it');
});

it('gives no more than it may', async () => {
  const { content } = await run({ name: 'long' });
  expect(Buffer.byteLength(content)).toBeLessThan(64 * 1024 + 100);
  expect(content).toMatch(/\[The rest, 7232 characters, is left out\.\]$/);
});

it.each([
  [{ name: 'other' }, 'You have no skill other. Your skills: long, pdf, web.'],
  [{ name: '../pdf' }, 'You have no skill ../pdf.'],
  [{ name: 'pdf', file: 'no' }, 'no of pdf cannot be loaded: there is no such file.'],
  [{ name: 'web' }, 'SKILL.md of web cannot be loaded: line 1: a skill begins with'],
])('says why %j is not loaded', async (args, reason) => {
  const { outcome, content } = await run(args);
  expect([outcome, content]).toEqual(['error', expect.stringContaining(reason)]);
});

it('may be used without asking', () => {
  expect(tool.plan({ name: 'pdf', file: 'a' }, caller)).toMatchObject({
    policy: { kind: 'builtin', name: 'load_skill', action: null, harmless: true },
    shown: 'Load "a" of the skill "pdf"',
  });
});
