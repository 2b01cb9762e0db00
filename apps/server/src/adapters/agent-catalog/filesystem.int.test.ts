import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fileAgentCatalog } from './filesystem.ts';
import { readAgentFolder } from '../../config/agent-folder.ts';
import { agentCatalogContract } from '../../ports/agent-catalog.contract.ts';

agentCatalogContract('a folder of agents', () => start());

async function start(cacheSize?: number) {
  const root = await mkdtemp(join(tmpdir(), 'duragent-agents-'));
  const dir = join(root, 'agents');
  let reads = 0;
  const readFolder = (folder: string) => {
    reads += 1;
    return readAgentFolder(folder);
  };
  const write = async (name: string, file: string, text: string): Promise<void> => {
    await mkdir(join(dir, name), { recursive: true });
    await writeFile(join(dir, name, file), text);
  };
  return {
    dir,
    root,
    catalog: fileAgentCatalog({ dir, readFolder, cacheSize }),
    reads: () => reads,
    write,
    async put(name: string, systemPrompt: string) {
      await write(name, 'agent.yaml', `name: ${name}\nmodel: echo\n`);
      await write(name, 'SYSTEM_PROMPT.md', systemPrompt);
    },
    break: (name: string) => write(name, 'agent.yaml', `nam: ${name}\n`),
    remove: (name: string) => rm(join(dir, name), { recursive: true }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

it('reads an agent when it is first asked for, and again when its files changed', async () => {
  await using files = await start();
  await files.put('a', 'one');
  await files.put('b', 'one');
  for (let turn = 0; turn < 5; turn += 1) await files.catalog.get('a');
  expect(files.reads()).toBe(1);
  await files.write('a', 'INSTRUCTIONS.md', 'more');
  expect((await files.catalog.get('a'))?.instructions).toBe('more');
  expect(files.reads()).toBe(2);
});

it('shows a text that was replaced by one of the same length and time', async () => {
  await using files = await start();
  await files.put('a', 'one');
  await files.catalog.get('a');
  await writeFile(join(files.dir, 'a', 'new'), 'two');
  await rename(join(files.dir, 'a', 'new'), join(files.dir, 'a', 'SYSTEM_PROMPT.md'));
  expect((await files.catalog.get('a'))?.systemPrompt).toBe('two');
});

it('keeps no more agents in memory than it may', async () => {
  await using files = await start(2);
  for (const name of ['a', 'b', 'c']) {
    await files.put(name, name);
    await files.catalog.get(name);
  }
  await files.catalog.get('c');
  await files.catalog.get('b');
  expect(files.reads()).toBe(3);
  await files.catalog.get('a');
  expect(files.reads()).toBe(4);
  await files.catalog.get('c');
  expect(files.reads()).toBe(5);
});

it('lists what is no agent as broken, and nothing of it hides the others', async () => {
  await using files = await start();
  await files.put('a', 'one');
  await files.put('Upper_Case', 'one');
  await files.put('x', 'one');
  await rename(join(files.dir, 'x'), join(files.dir, 'y'));
  await mkdir(join(files.dir, 'empty'));
  await mkdir(join(files.dir, '.hidden'));
  await writeFile(join(files.dir, 'README.md'), 'no agent');
  await mkdir(join(files.root, 'else'));
  await symlink(join(files.root, 'else'), join(files.dir, 'linked'));
  await symlink(join(files.dir, 'loop'), join(files.dir, 'loop'));
  const { agents, broken } = await files.catalog.list();
  expect(agents.map(({ name }) => name)).toEqual(['a']);
  expect(broken.map(({ name, faults }) => [name, faults[0]?.message])).toEqual([
    ['Upper_Case', 'an agent is named by 1 to 63 of a-z, 0-9 and "-"; rename its folder'],
    ['empty', 'there is no agent.yaml in this folder'],
    ['linked', 'this is a symbolic link; put the folder itself here'],
    ['loop', 'the folder cannot be read (ELOOP); mend it'],
    ['y', 'the agent is named "x" and its folder "y"; make them the same'],
  ]);
  expect(await files.catalog.get('linked')).toBeNull();
});

it('a thousand agents are listed, one of them broken', async () => {
  await using files = await start();
  const names = Array.from({ length: 1000 }, (_, n) => `agent-${n}`);
  await Promise.all(names.map((name) => files.put(name, name)));
  await files.break('agent-500');
  const { agents, broken } = await files.catalog.list();
  expect([agents.length, broken.length]).toEqual([999, 1]);
});

it.skipIf(process.getuid?.() === 0)('a folder that may not be read is broken', async () => {
  await using files = await start();
  await files.put('a', 'one');
  await chmod(join(files.dir, 'a', 'agent.yaml'), 0o000);
  const { broken } = await files.catalog.list();
  expect(broken[0]?.faults[0]?.message).toBe('the file cannot be read (EACCES)');
});
