import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileFault } from '../core/agent.ts';
import { type BudgetRules, noBudgetRules } from '../core/budget/budget-rules.ts';
import { readAgentFolder } from './agent-folder.ts';
import { validateAgent } from './validate-agent.ts';

const REPOSITORY = new URL('../../../../', import.meta.url).pathname;

let root: string;
let dir: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duragent-agent-'));
  dir = join(root, 'bot');
  await mkdir(dir);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const write = (path: string, text: string) => writeFile(join(dir, path), text);
const shown = (faults: FileFault[]): string[] =>
  faults.map(({ file, line, column, message }) => {
    return `${file.replace(`${dir}/`, '')}:${line}:${column}: ${message}`;
  });

const LONG =
  'apiVersion: duragent/v1alpha1\nkind: Agent\nmetadata:\n  name: bot\nspec:\n  model: echo\n';

describe('the texts', () => {
  it('are read from the files that are named, or are the value itself', async () => {
    await write(
      'agent.yaml',
      `${LONG}  soul: ./who.txt\n  system_prompt: |\n    Do it.\n    Now.\n  instructions: how.md\n`,
    );
    await write('who.txt', 'who');
    await write('how.md', 'how');
    const { agent, faults } = await readAgentFolder(dir);
    expect(faults).toEqual([]);
    expect(agent).toMatchObject({
      soul: 'who',
      systemPrompt: 'Do it.\nNow.\n',
      instructions: 'how',
    });
  });

  it('are read from the usual files where the key is absent', async () => {
    await write('agent.yaml', 'name: bot\nmodel: echo\nsoul: null\nsystem_prompt: ""\n');
    for (const name of ['SOUL.md', 'SYSTEM_PROMPT.md', 'INSTRUCTIONS.md']) await write(name, name);
    const { agent } = await readAgentFolder(dir);
    expect(agent).toMatchObject({ soul: '', systemPrompt: '', instructions: 'INSTRUCTIONS.md' });
  });

  it('are not changed by ${…} or $$', async () => {
    await write('agent.yaml', 'name: bot\nmodel: echo\nsoul: costs ${HOME} $$5\n');
    expect((await readAgentFolder(dir)).agent?.soul).toBe('costs ${HOME} $$5');
  });

  it.each([
    ['./no.md', 'soul: ./no.md: there is no such file'],
    ['../secret.md', "soul: ../secret.md: it is outside the agent's folder; move it inside"],
    ['./link.md', "soul: ./link.md: it is outside the agent's folder; move it inside"],
    ['link.md', "soul: link.md: it is outside the agent's folder; move it inside"],
    [
      './sub/../../secret.md',
      "soul: ./sub/../../secret.md: it is outside the agent's folder; move it inside",
    ],
    [
      './through/secret.md',
      "soul: ./through/secret.md: it is outside the agent's folder; move it inside",
    ],
    ['../none.md', "soul: ../none.md: it is outside the agent's folder; move it inside"],
    ['./', "soul: ./: it is outside the agent's folder; move it inside"],
    ['./sub', 'soul: ./sub: this is not a regular file'],
    ['./big.md', 'soul: ./big.md: the file is larger than 256 KiB; make it smaller'],
  ])('%s is refused at its key', async (path, message) => {
    await writeFile(join(root, 'secret.md'), 'secret');
    await symlink(join(root, 'secret.md'), join(dir, 'link.md'));
    await symlink(root, join(dir, 'through'));
    await mkdir(join(dir, 'sub'));
    await write('big.md', 'x'.repeat(256 * 1024 + 1));
    await write('agent.yaml', `${LONG}  soul: ${path}\n`);
    const { agent, faults } = await readAgentFolder(dir);
    expect(agent).toBeNull();
    expect(shown(faults)).toEqual([`agent.yaml:7:3: ${message}`]);
  });

  it('that look like a file and are none are warned of', async () => {
    await write('agent.yaml', `${LONG}  soul: souls.md\n`);
    const { agent, warnings } = await readAgentFolder(dir);
    expect(agent?.soul).toBe('souls.md');
    expect(shown(warnings)).toEqual([
      'agent.yaml:7:3: soul: there is no file souls.md, so this is the text itself; write ./souls.md',
    ]);
  });

  it('with {{time}} are warned of, where it stands', async () => {
    await write('agent.yaml', `${LONG}  soul: now {{time}}\n`);
    await write('INSTRUCTIONS.md', 'a\nat {{time}}\n');
    const { warnings } = await readAgentFolder(dir);
    expect(shown(warnings).map((warning) => warning.split(': ')[0])).toEqual([
      'agent.yaml:7:3',
      'INSTRUCTIONS.md:2:4',
    ]);
  });
});

describe('faults', () => {
  it.each([
    ['', ['agent.yaml:1:1: name is missing', 'agent.yaml:1:1: model is missing']],
    [
      'name: bot\nmodel: echo\nsole: x',
      ['agent.yaml:3:1: unknown key "sole"; did you mean "soul"?'],
    ],
    [
      'name: other\nmodel: echo',
      ['agent.yaml:1:1: the agent is named "other" and its folder "bot"; make them the same'],
    ],
    [
      LONG.replace('bot', 'other'),
      ['agent.yaml:4:3: the agent is named "other" and its folder "bot"; make them the same'],
    ],
    [
      `${LONG}greeting: hi`,
      ['agent.yaml:7:1: unknown key "greeting"; did you mean "spec.greeting"?'],
    ],
    [
      `${LONG}  session:\n    contxt: {}`,
      ['agent.yaml:8:5: unknown key "contxt"; did you mean "context"?'],
    ],
    [
      'name: bot\nmodel:\n  provider: opnai\n  name: x',
      [
        'agent.yaml:3:13: model.provider: expected "anthropic" or "openai" or "openrouter" or "ollama" or "openai-compatible" or "echo" or "script" or "auto"',
      ],
    ],
    [
      `${LONG}  access: { queue: { mode: interupt } }`,
      [
        'agent.yaml:7:28: spec.access.queue.mode: expected "steer" or "batch" or "sequential" or "interrupt" or "drop"',
      ],
    ],
    [
      `${LONG}  access: { groups: { sender_overrides: { "telegram:1*": block } } }`,
      [
        'agent.yaml:7:43: spec.access.groups.sender_overrides.telegram:1*: the only pattern is <gateway>:*; write whole ids',
      ],
    ],
    [
      `${LONG}  tools:\n    - { type: builtn, name: bash }`,
      ['agent.yaml:8:15: spec.tools.0.type: expected "builtin" or "cli" or "mcp"'],
    ],
    [
      'name: bot\nmodel: script/./no.yaml',
      ['agent.yaml:2:1: the script ./no.yaml: there is no such file'],
    ],
    [
      'name: bot\nmodel: script/../x.yaml',
      ["agent.yaml:2:1: the script ../x.yaml: it is outside the agent's folder; move it inside"],
    ],
    [
      'a: [',
      [
        'agent.yaml:1:5: Flow sequence in block collection must be sufficiently indented and end with a ]',
      ],
    ],
  ])('of %j', async (text, faults) => {
    await write('agent.yaml', text);
    const reading = await readAgentFolder(dir);
    expect(reading.agent).toBeNull();
    expect(shown(reading.faults)).toEqual(faults);
  });

  it('of a folder without agent.yaml', async () => {
    const { faults } = await readAgentFolder(dir);
    expect(shown(faults)).toEqual(['agent.yaml:1:1: there is no agent.yaml in this folder']);
  });

  it('of keys without effect are warnings', async () => {
    const spec =
      '  tools: [{ type: builtin, name: bash }]\n  session: { ttl_hours: 5 }\n' +
      '  access: { owners: ["telegram:1"], approvers: [requester], queue: { mode: batch } }\n';
    await write('agent.yaml', LONG + spec);
    const { agent, warnings } = await readAgentFolder(dir);
    expect(agent).not.toBeNull();
    expect(shown(warnings)).toEqual([
      'agent.yaml:8:14: session.ttl_hours is checked but has no effect in this version',
    ]);
  });
});

describe('a budget', () => {
  const model =
    '  model:\n    provider: openrouter\n    name: x/y\n    fallback: [openai/gpt-5, openai/z]\n';
  const spec = LONG.replace('  model: echo\n', model);
  const unknown = (place: string, name: string, needs: string) =>
    `agent.yaml:${place}: the price of ${name} is not known, and ${needs} needs it. Add it to models.prices in duragent.yaml: "${name}": { input: 1, output: 2 }, in US dollars per million tokens`;

  it('with a model whose price is not known is a fault at each of them', async () => {
    await write('agent.yaml', `${spec}  budget: { day_usd: 5 }\n`);
    const { agent, faults } = await readAgentFolder(dir);
    expect(agent).toBeNull();
    expect(shown(faults)).toEqual([
      unknown('6:3', 'openrouter/x/y', 'budget.day_usd'),
      unknown('9:30', 'openai/z', 'budget.day_usd'),
    ]);
    expect(shown((await validateAgent(dir)).faults)).toHaveLength(2);
  });

  it('of the server asks for prices as well', async () => {
    await write('agent.yaml', spec);
    const budget = { sessionUsd: 1, dayUsd: null, senderDayUsd: null };
    const { faults } = await validateAgent(dir, { budget, prices: {} });
    expect(shown(faults)[0]).toBe(unknown('6:3', 'openrouter/x/y', 'a budget of duragent.yaml'));
    expect((await validateAgent(dir)).faults).toEqual([]);
  });

  it('is kept with prices that the configuration gives, and looked at again when they change', async () => {
    await write('agent.yaml', `${spec}  budget: { session_usd: 0.5 }\n`);
    const price = { input: 1, output: 1, cacheRead: 1, cacheWrite: 1 };
    let rules: BudgetRules = noBudgetRules;
    const before = await readAgentFolder(dir, () => rules);
    expect(before.agent).toBeNull();
    expect(await before.unchanged()).toBe(true);
    rules = { ...rules, prices: { 'openrouter/x/': price, 'openai/z': price } };
    expect(await before.unchanged()).toBe(false);
    const { agent } = await readAgentFolder(dir, () => rules);
    expect(agent?.budget).toEqual({ sessionUsd: 0.5, dayUsd: null, senderDayUsd: null });
  });

  it.each(['echo', 'auto', 'ollama/llama3', 'anthropic/claude-sonnet-4-5-20250929'])(
    'is no fault with %s',
    async (name) => {
      await write('agent.yaml', `name: bot\nmodel: ${name}\nbudget: { sender_day_usd: 1 }\n`);
      expect((await readAgentFolder(dir)).faults).toEqual([]);
    },
  );
});

it('a script is named by its real path', async () => {
  await write('turns.yaml', '');
  await write('agent.yaml', 'name: bot\nmodel: script/./turns.yaml\n');
  const { agent } = await readAgentFolder(dir);
  expect(agent?.models[0].name).toMatch(/^\/.*\/bot\/turns\.yaml$/);
});

describe('hash and change', () => {
  beforeEach(() => write('agent.yaml', 'name: bot\nmodel: echo\n'));

  it('the hash depends on what the files say, and on nothing else', async () => {
    await write('SOUL.md', 'soul');
    const { agent } = await readAgentFolder(dir);
    expect(agent?.hash).toMatch(/^[0-9a-f]{16}$/);
    await cp(dir, join(root, 'else', 'bot'), { recursive: true });
    expect((await readAgentFolder(join(root, 'else', 'bot'))).agent?.hash).toBe(agent?.hash);
    await write('unread.txt', 'x');
    expect((await readAgentFolder(dir)).agent?.hash).toBe(agent?.hash);
    await write('SOUL.md', 'soul!');
    expect((await readAgentFolder(dir)).agent?.hash).not.toBe(agent?.hash);
    await rm(join(dir, 'SOUL.md'));
    await write('INSTRUCTIONS.md', 'soul');
    expect((await readAgentFolder(dir)).agent?.hash).not.toBe(agent?.hash);
  });

  it.each([
    ['agent.yaml is edited', () => write('agent.yaml', 'name: bot\nmodel: auto\n')],
    ['agent.yaml is removed', () => rm(join(dir, 'agent.yaml'))],
    ['a usual text appears', () => write('SYSTEM_PROMPT.md', '')],
    ['the folder is removed', () => rm(dir, { recursive: true })],
  ])('it is noticed that %s', async (_, change) => {
    const { unchanged } = await readAgentFolder(dir);
    expect(await unchanged()).toBe(true);
    await change();
    expect(await unchanged()).toBe(false);
  });
});

describe('validate', () => {
  it('says how the short form is written in the long one, which means the same', async () => {
    await write(
      'agent.yaml',
      'name: bot\nmodel: openai/gpt-5\nsoul: S\ntools: { builtin: [bash] }\n',
    );
    const before = await readAgentFolder(dir);
    const { hints } = await validateAgent(dir);
    expect(hints).toHaveLength(1);
    await write('agent.yaml', hints[0]?.split('\n\n').slice(1).join('\n\n') ?? '');
    const after = await readAgentFolder(dir);
    expect(after.faults).toEqual([]);
    expect({ ...after.agent, hash: '' }).toEqual({ ...before.agent, hash: '' });
    expect((await validateAgent(dir)).hints).toEqual([]);
  });

  it('warns of a tool without a README, with its place', async () => {
    await write(
      'agent.yaml',
      `${LONG}  tools:\n    - { type: cli, name: named, command: ./tools/named/run }\n`,
    );
    for (const name of ['good', 'bare', 'empty', 'named', 'notes']) {
      await mkdir(join(dir, 'tools', name), { recursive: true });
      await write(`tools/${name}/${name === 'notes' ? 'a.txt' : 'run'}`, '#!/bin/sh\n');
    }
    await write('tools/good/README.md', 'Counts words.');
    await write('tools/empty/README.md', ' \n');
    const { faults, warnings } = await validateAgent(dir);
    expect(faults).toEqual([]);
    const why = 'the tool is left out: write one paragraph about what it is for';
    expect(shown(warnings)).toEqual([
      `tools/bare/README.md:1:1: there is no README.md, so ${why}`,
      `tools/empty/README.md:1:1: it says nothing, so ${why}`,
    ]);
  });

  it.each(['assistant', 'echo'])('finds nothing wrong with the example %s', async (name) => {
    const { faults, warnings } = await validateAgent(join(REPOSITORY, 'agents', name));
    expect([...faults, ...warnings]).toEqual([]);
  });
});

it('the starter agent is the example agent', async () => {
  for (const name of ['agent.yaml', 'SOUL.md', 'SYSTEM_PROMPT.md', 'INSTRUCTIONS.md']) {
    const example = await readFile(join(REPOSITORY, 'agents/assistant', name), 'utf8');
    const starter = join(REPOSITORY, 'apps/server/templates/workspace/agents/assistant', name);
    expect(await readFile(starter, 'utf8')).toBe(example);
  }
});
