import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileFault } from '../core/agent.ts';
import { readAgentFolder } from './agent-folder.ts';
import { watchDirectives } from './directives.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duragent-directives-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const write = async (path: string, text: string): Promise<void> => {
  await mkdir(join(root, path, '..'), { recursive: true });
  await writeFile(join(root, path), text);
};

describe('the directives of all agents', () => {
  it('are the Markdown files of their folder, by name, as they are now', async () => {
    const faults: FileFault[] = [];
    const read = watchDirectives(root, { freshMs: 0, onFault: (fault) => faults.push(fault) });
    expect(await read()).toBe('');
    await write('directives/b.md', 'second\n');
    await write('directives/a.md', '\nfirst\n');
    await write('directives/.hidden.md', 'hidden');
    await write('directives/notes.txt', 'notes');
    expect(await read()).toBe('first\n\nsecond');
    await write('directives/b.md', 'changed');
    expect(await read()).toBe('first\n\nchanged');
    await rm(join(root, 'directives'), { recursive: true });
    expect(await read()).toBe('');
    expect(faults).toEqual([]);
  });

  it('are taken as they were read for a while', async () => {
    const read = watchDirectives(root, { freshMs: 3_600_000, onFault: () => undefined });
    expect(await read()).toBe('');
    await write('directives/a.md', 'later');
    expect(await read()).toBe('');
  });

  it('leave out what leads elsewhere, and tell of it once', async () => {
    await write('secret.md', 'secret');
    await write('data/directives/a.md', 'mine');
    await symlink(join(root, 'secret.md'), join(root, 'data/directives/b.md'));
    const faults: FileFault[] = [];
    const data = join(root, 'data');
    const read = watchDirectives(data, { freshMs: 0, onFault: (fault) => faults.push(fault) });
    expect(await read()).toBe('mine');
    expect(await read()).toBe('mine');
    expect(faults.map(({ file }) => file)).toEqual([join(data, 'directives/b.md')]);
  });
});

describe('the directives of an agent', () => {
  it('are a part of its definition: a change of one is a change of it', async () => {
    await write('bot/agent.yaml', 'name: bot\nmodel: echo\n');
    const dir = join(root, 'bot');
    const none = await readAgentFolder(dir);
    expect(none.agent?.directives).toBe('');
    await write('bot/directives/a.md', 'Be brief.');
    expect(await none.unchanged()).toBe(false);
    const one = await readAgentFolder(dir);
    expect(one.agent?.directives).toBe('Be brief.');
    expect(one.agent?.hash).not.toBe(none.agent?.hash);
    expect(await one.unchanged()).toBe(true);
    await write('bot/directives/b.md', 'Be kind.');
    expect(await one.unchanged()).toBe(false);
    expect((await readAgentFolder(dir)).agent?.directives).toBe('Be brief.\n\nBe kind.');
  });

  it('that cannot be read are a fault of it', async () => {
    await write('bot/agent.yaml', 'name: bot\nmodel: echo\n');
    await mkdir(join(root, 'bot/directives/a.md'), { recursive: true });
    const { agent, faults } = await readAgentFolder(join(root, 'bot'));
    expect(agent).toBeNull();
    expect(faults[0]).toMatchObject({
      file: join(root, 'bot/directives/a.md'),
      message: 'this is not a regular file',
    });
  });
});
