import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parse } from 'yaml';
import { evaluatePolicy } from '../core/policy/evaluate-policy.ts';
import { policyFileSchema } from '../core/policy/policy-file.ts';
import { readAgentFolder } from './agent-folder.ts';
import { createWorkspace } from './workspace.ts';
import { readYaml } from './yaml-file.ts';

let root: string;
let data: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duragent-workspace-'));
  data = join(root, '.duragent');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const modeOf = async (path: string): Promise<string> =>
  ((await stat(path)).mode & 0o777).toString(8);

it('makes a workspace whose agent loads, for its owner only', async () => {
  const made = await createWorkspace(data);
  expect(made.map((path) => path.slice(data.length + 1)).sort()).toEqual([
    '',
    '.gitignore',
    'agents',
    'agents/assistant',
    'agents/assistant/INSTRUCTIONS.md',
    'agents/assistant/SOUL.md',
    'agents/assistant/SYSTEM_PROMPT.md',
    'agents/assistant/agent.yaml',
    'policy.yaml',
  ]);
  for (const path of made) {
    expect(await modeOf(path)).toBe((await stat(path)).isDirectory() ? '700' : '600');
  }
  const ignored = await readFile(join(data, '.gitignore'), 'utf8');
  expect(ignored.split('\n')).toEqual([
    'LOCK',
    'EPOCH',
    'run/',
    'auth/',
    'logs/',
    'agents/*/policy.local.yaml',
    '',
  ]);
  const policy = await readFile(join(data, 'policy.yaml'), 'utf8');
  expect(readYaml(policy, 'policy.yaml', policyFileSchema)).toMatchObject({
    ok: true,
    value: { mode: 'ask' },
  });
  const { agent, warnings } = await readAgentFolder(join(data, 'agents', 'assistant'));
  expect(agent).toMatchObject({
    models: [{ provider: 'auto' }],
    session: { onDisconnect: 'pause' },
  });
  expect(warnings).toEqual([]);
});

it.each([
  'git log -1 --format=x --output=.git/config',
  'git log --oneline --output=.git/config',
  'git log --ext-diff -p',
  'git -c core.fsmonitor=./x status',
  'git status --porcelain',
  'date -s 2000-01-01',
  'date --file=x',
])('asks before the starter agent runs %s', async (command) => {
  await createWorkspace(data);
  const text = await readFile(join(data, 'policy.yaml'), 'utf8');
  const workspace = policyFileSchema.parse(parse(text));
  const policies = { workspace, agent: null, local: null };
  expect(evaluatePolicy({ policies }, { kind: 'bash', command }).decision).toBe('ask');
});

it('made twice, changes nothing', async () => {
  await createWorkspace(data);
  await writeFile(join(data, '.gitignore'), 'mine');
  await writeFile(join(data, 'agents/assistant/SOUL.md'), 'mine');
  await rm(join(data, 'agents/assistant/INSTRUCTIONS.md'));
  expect(await createWorkspace(data)).toEqual([]);
  expect(await readFile(join(data, '.gitignore'), 'utf8')).toBe('mine');
  expect(await readFile(join(data, 'agents/assistant/SOUL.md'), 'utf8')).toBe('mine');
  expect(await readdir(join(data, 'agents/assistant'))).not.toContain('INSTRUCTIONS.md');
});

it('adds no agent where there are some, also elsewhere', async () => {
  const agentsDir = join(root, 'agents');
  await mkdir(join(agentsDir, 'mine'), { recursive: true });
  await createWorkspace(data, { agentsDir });
  expect(await readdir(agentsDir)).toEqual(['mine']);
  expect(await readdir(data)).toEqual(['.gitignore', 'policy.yaml']);
});

it('made by many at once, is made once and whole', async () => {
  await Promise.all(Array.from({ length: 20 }, () => createWorkspace(data)));
  expect(await readdir(join(data, 'agents'))).toEqual(['assistant']);
  expect((await readAgentFolder(join(data, 'agents/assistant'))).faults).toEqual([]);
});
