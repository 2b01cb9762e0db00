import { describe, expect, test } from 'vitest';
import type { ReadWorkspaceFile } from '../ports/artifact-store.ts';
import { surroundingsReader } from './surroundings.ts';
import { testAgent } from './testing.ts';

function reader(options: { file?: string | null; freshMs?: number }) {
  const seen = { reads: 0, memories: 0, now: 0 };
  const readFile: ReadWorkspaceFile = (path, { maxBytes }) => {
    seen.reads += 1;
    expect(path).toBe('AGENTS.md');
    expect(maxBytes).toBe(1024 * 1024);
    if (options.file == null) return Promise.resolve({ ok: false, reason: 'it does not exist' });
    return Promise.resolve({ ok: true, bytes: Buffer.from(options.file) });
  };
  const read = surroundingsReader({
    clock: { now: () => 0, monotonic: () => seen.now, after: () => () => undefined },
    directives: () => Promise.resolve('Be kind.'),
    readFile,
    freshMs: options.freshMs ?? 0,
    memory: ({ name }) => {
      seen.memories += 1;
      return Promise.resolve(`memory of ${name}`);
    },
  });
  return { read, seen };
}

describe('what is around an agent', () => {
  test('is the directives, its memory where it has one, and AGENTS.md', async () => {
    const { read, seen } = reader({ file: 'Use tabs.' });
    const tools = [{ type: 'builtin' as const, name: 'memory' as const }];
    expect(await read(testAgent({ tools }))).toEqual({
      directives: 'Be kind.',
      memory: 'memory of assistant',
      project: 'Use tabs.',
    });
    expect((await read(testAgent())).memory).toBe('');
    expect(seen.memories).toBe(1);
  });

  test('has no project where there is no AGENTS.md, and a part of a long one', async () => {
    expect((await reader({ file: null }).read(testAgent())).project).toBe('');
    const { project } = await reader({ file: `${'é'.repeat(20_000)}` }).read(testAgent());
    expect(project).toMatch(
      /^é{16384}\n\[AGENTS\.md is longer than is shown here; read the file for the rest\.\]$/,
    );
  });

  test('is not read again for every turn of many that begin at once', async () => {
    const { read, seen } = reader({ file: 'a', freshMs: 1000 });
    await Promise.all([read(testAgent()), read(testAgent())]);
    await read(testAgent());
    expect(seen.reads).toBe(1);
    seen.now = 1000;
    await read(testAgent());
    expect(seen.reads).toBe(2);
  });
});
