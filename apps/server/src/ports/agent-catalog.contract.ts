import { describe, expect, it } from 'vitest';
import type { AgentCatalog } from './agent-catalog.ts';

/** A catalog under test, and how its agents come to be what they are. */
export interface AgentCatalogHarness extends AsyncDisposable {
  catalog: AgentCatalog;
  /** Makes an agent, or its next version, whose system prompt is this. */
  put(name: string, systemPrompt: string): Promise<void>;
  /** Makes the agent's files unreadable as an agent. */
  break(name: string): Promise<void>;
  remove(name: string): Promise<void>;
}

/** What every `AgentCatalog` promises. */
export function agentCatalogContract(
  what: string,
  start: () => Promise<AgentCatalogHarness>,
): void {
  describe(`${what} as an AgentCatalog`, () => {
    const namesOf = async (catalog: AgentCatalog) => {
      const { agents, broken } = await catalog.list();
      return { agents: agents.map(({ name }) => name), broken: broken.map(({ name }) => name) };
    };

    it('is empty at first', async () => {
      await using harness = await start();
      expect(await harness.catalog.list()).toEqual({ agents: [], broken: [] });
      expect(await harness.catalog.get('a')).toBeNull();
    });

    it('knows agents by name and lists them in its order', async () => {
      await using harness = await start();
      for (const name of ['b', 'a-2', 'a']) await harness.put(name, `I am ${name}`);
      expect(await harness.catalog.get('b')).toMatchObject({ name: 'b', systemPrompt: 'I am b' });
      expect(await namesOf(harness.catalog)).toEqual({ agents: ['a', 'a-2', 'b'], broken: [] });
    });

    it('shows an edit the next time it is asked, with another hash', async () => {
      await using harness = await start();
      await harness.put('a', 'one');
      const before = await harness.catalog.get('a');
      expect((await harness.catalog.get('a'))?.hash).toBe(before?.hash);
      await harness.put('a', 'two');
      const after = await harness.catalog.get('a');
      expect(after?.systemPrompt).toBe('two');
      expect(after?.hash).not.toBe(before?.hash);
    });

    it('keeps the last good version of one that broke, and says what is wrong', async () => {
      await using harness = await start();
      await harness.put('a', 'one');
      await harness.put('b', 'one');
      const good = await harness.catalog.get('a');
      await harness.break('a');
      expect(await harness.catalog.get('a')).toEqual(good);
      const { agents, broken } = await harness.catalog.list();
      expect(agents.map(({ name }) => name)).toEqual(['a', 'b']);
      expect(broken.map(({ name }) => name)).toEqual(['a']);
      expect(broken[0]?.faults[0]).toMatchObject({
        line: 1,
        message: expect.any(String) as string,
      });
      await harness.put('a', 'mended');
      expect((await harness.catalog.get('a'))?.systemPrompt).toBe('mended');
      expect(await namesOf(harness.catalog)).toEqual({ agents: ['a', 'b'], broken: [] });
    });

    it('does not know one that never loaded, and still knows the others', async () => {
      await using harness = await start();
      await harness.break('a');
      await harness.put('b', 'one');
      expect(await harness.catalog.get('a')).toBeNull();
      expect(await namesOf(harness.catalog)).toEqual({ agents: ['b'], broken: ['a'] });
    });

    it('forgets one that was removed, its last good version too', async () => {
      await using harness = await start();
      await harness.put('a', 'one');
      await harness.put('b', 'one');
      await harness.catalog.list();
      await harness.remove('a');
      await harness.remove('b');
      expect(await harness.catalog.get('a')).toBeNull();
      expect(await namesOf(harness.catalog)).toEqual({ agents: [], broken: [] });
      await harness.break('a');
      expect(await harness.catalog.get('a')).toBeNull();
      await harness.break('b');
      expect(await namesOf(harness.catalog)).toEqual({ agents: [], broken: ['a', 'b'] });
    });

    it.each(['', '.', '..', '../a', 'a/b', 'A', '-a', 'a\0', 'x'.repeat(64), '__proto__'])(
      'does not know %j, which is no name',
      async (name) => {
        await using harness = await start();
        await harness.put('a', 'one');
        expect(await harness.catalog.get(name)).toBeNull();
      },
    );
  });
}
