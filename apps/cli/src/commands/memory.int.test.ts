import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CliContext } from '../context.ts';
import { exportMemory } from './memory.ts';

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duragent-export-'));
  await write('.duragent/duragent.yaml', 'default_agent: null\n');
});
afterEach(() => rm(root, { recursive: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

async function run(agent: string, options: { to?: string } = {}) {
  const [out, err] = [new Sink(), new Sink()];
  const globals = { verbose: 0, quiet: false, color: false, server: null, token: null };
  const context = { env: {}, cwd: root, stdin: process.stdin, stdout: out, stderr: err, globals };
  const code = await exportMemory(context as unknown as CliContext, agent, options);
  return { code, out: out.text, err: err.text };
}

it('writes what an agent remembers to a folder, without a server', async () => {
  await write('.duragent/memory/agents/helper/MEMORY.md', 'me\n');
  await write('.duragent/memory/agents/other/MEMORY.md', 'secret\n');
  await write('.duragent/memory/2026-11-20.md', 'by hand\n');
  await write('.duragent/memory/world/office.md', 'five\n');
  expect(await run('helper')).toEqual({
    code: 0,
    out: 'Wrote 3 files to helper-memory\n',
    err: '',
  });
  const files = await readdir(join(root, 'helper-memory'), { recursive: true });
  expect(files.filter((name) => name.endsWith('.md')).toSorted()).toEqual([
    '2026-11-20.md',
    'agents/helper/MEMORY.md',
    'world/office.md',
  ]);
  expect(await readFile(join(root, 'helper-memory/world/office.md'), 'utf8')).toBe('five\n');
});

it('writes to no folder that holds something', async () => {
  await write('.duragent/memory/2026-11-20.md', 'by hand\n');
  await write('there/a', 'mine');
  await expect(run('helper', { to: 'there' })).rejects.toMatchObject({ code: 'usage' });
  expect(await readdir(join(root, 'there'))).toEqual(['a']);
});

it('says when there is nothing to write, and makes no folder', async () => {
  expect(await run('helper')).toMatchObject({ code: 1, out: '' });
  await expect(run('../x')).rejects.toMatchObject({ code: 'invalid_request' });
  expect(await readdir(root)).toEqual(['.duragent']);
});
