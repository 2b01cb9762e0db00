import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { needs } from '../../../../../test/support/needs.ts';
import { cliToolFiles } from '../../adapters/cli-tools/filesystem.ts';
import { baseEnv, testSandboxHarness } from '../../adapters/sandbox/testing.ts';
import { readYaml } from '../../config/yaml-file.ts';
import type { Agent, AgentTool } from '../../core/agent.ts';
import { cliFrontMatterSchema } from '../../core/cli-tools/describe-program.ts';
import type { Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';
import { testAgent } from '../testing.ts';
import { CliTools } from './cli-tools.ts';
import { reloadToolsTool } from './reload-tools.ts';

type Harness = Awaited<ReturnType<typeof testSandboxHarness>>;
let harness: Harness;
beforeAll(async () => {
  harness = await testSandboxHarness({ mode: 'trust', baseEnv });
  return () => harness.dispose();
});

let count = 0;
let base: string;
let agent: Agent;
let warned: unknown[];
let tools: CliTools;
beforeEach(async () => {
  count += 1;
  base = path.join(harness.root, `case-${count}`);
  await mkdir(base);
  agent = testAgent({ home: path.join(base, 'agent') });
  await mkdir(agent.home);
  warned = [];
  tools = cliTools(harness);
});

function cliTools({ sandbox, workspace }: Harness): CliTools {
  return new CliTools({
    files: cliToolFiles({ freshMs: 0 }),
    sandbox,
    workspace,
    sharedTools: path.join(base, 'shared'),
    networkOf: () => 'all',
    outputs: {
      file: async (_, call) => path.join(base, `${call}.log`),
    },
    readFrontMatter: (text, file) => readYaml(text, file, cliFrontMatterSchema),
    log: { warn: (fields, text) => void warned.push([fields, text]) },
  });
}

async function put(file: string, text: string, mode = 0o644): Promise<void> {
  const full = path.join(base, file);
  await mkdir(path.dirname(full), { recursive: true });
  await writeFile(full, text);
  await chmod(full, mode);
}

async function putTool(folder: string, readme: string, script = 'true'): Promise<void> {
  await put(`${folder}/run`, `#!/bin/sh\n${script}\n`, 0o755);
  await put(`${folder}/README.md`, readme);
}

const caller = (): ToolCaller => ({ session: 's', turn: 't', call: 'call_1', agent });

function declare(tool: Partial<Extract<AgentTool, { type: 'cli' }>>): void {
  const whole = {
    type: 'cli',
    name: 'x',
    command: './x.sh',
    description: '',
    readme: null,
    effect: 'effectful',
  } as const;
  agent = { ...agent, tools: [...agent.tools, { ...whole, ...tool }] };
}

async function only(): Promise<Tool> {
  const [tool] = await tools.toolsOf(agent);
  if (tool === undefined) throw new Error(`no tool: ${JSON.stringify(warned)}`);
  return tool;
}

function run(
  tool: Tool,
  args: Record<string, unknown>,
  signal = new AbortController().signal,
): Promise<ToolResult> {
  return tool.run(args, { signal, onOutput: () => undefined, caller: caller() });
}

describe('the tools of an agent', () => {
  test('are those it names, then its own, then those of all; of two with one name the first', async () => {
    await put('agent/bin/deploy.sh', '#!/bin/sh\n', 0o755);
    declare({ name: 'deploy', command: './bin/deploy.sh', description: 'Deploys.' });
    await putTool('agent/tools/deploy', 'Not this one.');
    await putTool('agent/tools/lint', 'Lints.');
    await putTool('shared/lint', 'Not this one.');
    await putTool('shared/test', '# Test\n\nTests.');
    expect((await tools.toolsOf(agent)).map((tool) => [tool.name, tool.description])).toEqual([
      ['deploy', 'Deploys.'],
      ['lint', 'Lints.'],
      ['test', 'Tests.'],
    ]);
  });

  test('of which one is broken give its name to no other', async () => {
    declare({ name: 'deploy', command: './none.sh' });
    await putTool('shared/deploy', 'Not this one.');
    expect(await tools.toolsOf(agent)).toEqual([]);
    await tools.toolsOf(agent);
    expect(warned).toEqual([
      [
        { agent: 'assistant', tool: 'deploy', file: `${agent.home}/none.sh` },
        'not a tool: there is no such file',
      ],
    ]);
  });

  test('that are named and lie in its folder are there once', async () => {
    await putTool('agent/tools/deploy', 'Deploys.');
    declare({ name: 'ship', command: './tools/deploy/run' });
    expect((await tools.toolsOf(agent)).map(({ name }) => name)).toEqual(['ship']);
  });

  test('have the effect that the agent says, and effectful ones are not repeated', async () => {
    await put('agent/x.sh', '#!/bin/sh\n', 0o755);
    declare({ effect: 'pure' });
    declare({ name: 'z', onInterrupt: 'ask' });
    await putTool('shared/y', '---\ndescription: Y\neffect: pure\n---\n');
    expect(await tools.toolsOf(agent)).toMatchObject([
      { effect: 'pure', onInterrupt: 'retry', description: 'The command line tool x.' },
      { effect: 'effectful', onInterrupt: 'ask' },
      { effect: 'effectful', onInterrupt: 'tell_model' },
    ]);
  });

  test('take what their schema says, or their front matter, or anything', async () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } } };
    await putTool('shared/a', 'A.');
    await put('shared/a/schema.json', JSON.stringify(schema));
    await putTool('shared/b', '---\nparameters:\n  type: object\n  required: [b]\n---\nB.');
    await putTool('shared/c', 'C.');
    expect((await tools.toolsOf(agent)).map(({ parameters }) => parameters)).toEqual([
      schema,
      { type: 'object', required: ['b'] },
      { type: 'object', additionalProperties: true },
    ]);
  });

  test.each([
    ['a schema that is no JSON', 'schema.json', '{', 'it is not JSON'],
    ['a schema of a text', 'schema.json', '{"type":"string"}', '"type": "object"'],
    ['a README that says nothing', 'README.md', '# X\n', 'it says nothing'],
    ['front matter without an end', 'README.md', '---\na: 1\n', 'close it with a line'],
    ['front matter that is no YAML', 'README.md', '---\na: [\n---\nX', 'Flow sequence'],
  ])('do not have one with %s, and that is said', async (_, file, text, reason) => {
    await putTool('shared/x', 'X.');
    await put(`shared/x/${file}`, text);
    expect(await tools.toolsOf(agent)).toEqual([]);
    expect(warned).toEqual([
      [
        expect.objectContaining({ file: path.join(base, 'shared/x', file) }),
        expect.stringContaining(reason),
      ],
    ]);
  });
});

describe('a call', () => {
  const script = [
    'echo "cwd=$PWD name=$DURAGENT_ARG_NAME list=$DURAGENT_ARG_LIST args=$#"',
    'cat',
    'cat "$(dirname "$0")/beside"',
    'echo to-stderr >&2',
    'exit 3',
  ].join('\n');

  test('gives the arguments as JSON and as variables, in the workspace', async () => {
    await putTool('shared/x', 'X.', script);
    await put('shared/x/beside', 'beside\n');
    const result = await run(await only(), { name: "it's; $(id)", list: [1] });
    expect(result).toMatchObject({ outcome: 'error', details: { exit_code: 3 } });
    expect(result.content.split('\n')).toEqual([
      'Exit code 3.',
      'Output:',
      `cwd=${harness.workspace} name=it's; $(id) list=[1] args=0`,
      `{"name":"it's; $(id)","list":[1]}`,
      'beside',
      'to-stderr',
      '',
    ]);
    expect(await readFile(path.join(base, 'call_1.log'), 'utf8')).toContain('beside');
  });

  test('is judged by its name and arguments, and shown whole', async () => {
    await putTool('shared/x', 'X.');
    const tool = await only();
    const plan = tool.plan({ to: 'prod\u202e' }, caller());
    expect(plan).toEqual({
      policy: { kind: 'cli', name: 'x', args: { to: 'prod\u202e' } },
      shown: expect.stringMatching(
        /^Run the tool x with \{"to":"prod⟨U\+202E⟩"\}\n\/.*\/shared\/x\/run \(as of [0-9a-f]{16}\)$/,
      ),
      command: {
        argv: [path.join(base, 'shared/x/run')],
        cwd: harness.workspace,
        env: { DURAGENT_ARG_TO: 'prod\u202e' },
      },
    });
    expect(tool.plan({ to: 'prod\u202e' }, caller())).toEqual(plan);
  });

  test('with arguments that no program can have is refused', async () => {
    await putTool('shared/x', 'X.', 'touch ran');
    const tool = await only();
    expect(tool.plan({ a: '\0' }, caller())).toEqual({ fault: expect.stringContaining('NUL') });
    expect(await run(tool, { a: '\0' })).toMatchObject({ outcome: 'error' });
    await expect(readFile(path.join(harness.workspace, 'ran'))).rejects.toThrow('ENOENT');
  });

  test('of a program that was changed since it was planned is not run', async () => {
    await putTool('shared/x', 'X.');
    const tool = await only();
    const before = tool.plan({}, caller());
    await put('shared/x/run', '#!/bin/sh\ntouch evil\n', 0o755);
    expect(await run(tool, {})).toEqual({
      outcome: 'error',
      content: expect.stringContaining('changed just now'),
    });
    await expect(readFile(path.join(harness.workspace, 'evil'))).rejects.toThrow('ENOENT');
    expect((await only()).plan({}, caller())).not.toEqual(before);
  });

  test('ends with its signal', async () => {
    await putTool('shared/x', 'X.', 'sleep 600');
    const abort = new AbortController();
    const running = run(await only(), {}, abort.signal);
    abort.abort();
    expect(await running).toMatchObject({ outcome: 'cancelled' });
  });
});

describe.skipIf(!needs('bwrap'))('in bubblewrap', () => {
  test('a program in a hidden folder runs, and sees of that folder only its own', async () => {
    const hidden = await testSandboxHarness({ mode: 'bubblewrap', baseEnv });
    try {
      base = hidden.dataDir;
      agent = { ...agent, home: path.join(base, 'agent') };
      await putTool('shared/x', 'X.', 'cat "$(dirname "$0")/beside"; ls "$(dirname "$0")/.."');
      await put('shared/x/beside', 'beside\n');
      await put('shared/y/secret', 'secret\n');
      tools = cliTools(hidden);
      expect((await run(await only(), {})).content).toBe('Exit code 0.\nOutput:\nbeside\nx\n');
    } finally {
      await hidden.dispose();
    }
  });
});

describe('reload_tools', () => {
  const reload = async (): Promise<string> => (await run(reloadToolsTool(tools), {})).content;

  test('says what is new, changed, gone and broken', async () => {
    await putTool('shared/a', 'A.');
    await putTool('shared/b', 'B.');
    await tools.toolsOf(agent);
    await put('shared/a/run', '#!/bin/sh\necho new\n', 0o755);
    await put('shared/b/README.md', '');
    await putTool('agent/tools/c', 'C.');
    // That the model was offered them meanwhile is no reason to be silent.
    await tools.toolsOf(agent);
    expect((await reload()).split('\n')).toEqual([
      'Tools: c, a.',
      'New: c.',
      'Changed: a.',
      'Gone: b.',
      `Broken: b: it says nothing: write one paragraph about what the tool is for (${base}/shared/b/README.md)`,
    ]);
    expect((await reload()).split('\n').slice(0, 2)).toEqual(['Tools: c, a.', 'Nothing changed.']);
  });

  test('asks nobody, and says where there is none', async () => {
    expect(await reload()).toBe('There are no command line tools.\nNothing changed.');
    expect(reloadToolsTool(tools).plan({}, caller())).toMatchObject({
      policy: { kind: 'builtin', name: 'reload_tools', harmless: true },
    });
  });
});
