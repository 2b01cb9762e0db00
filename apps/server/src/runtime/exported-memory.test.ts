import { expect, it } from 'vitest';
import { memoryMemoryStore } from '../adapters/memory-store/memory.ts';
import { addEntry } from '../core/memory/entries.ts';
import { exportedMemory } from './exported-memory.ts';
import { newId } from './ids.ts';

it('holds what an agent recalls, and nothing of the others', async () => {
  const store = memoryMemoryStore();
  const note = (agent: string, text: string) => {
    const tag = { agent, session: newId('session'), call: newId('call') };
    return { time: '14:03', section: '', tag, text };
  };
  const own = addEntry(null, '2026-11-20', note('helper', 'tea'));
  await store.update({ kind: 'day', day: '2026-11-20' }, () =>
    addEntry(own, '2026-11-20', note('other', 'secret')),
  );
  await store.update({ kind: 'day', day: '2026-11-21' }, () =>
    addEntry(null, '2026-11-21', note('other', 'secret')),
  );
  store.edit({ kind: 'day', day: '2026-11-22' }, 'by hand\n');
  store.edit({ kind: 'curated', agent: 'helper' }, 'me');
  store.edit({ kind: 'curated', agent: 'other' }, 'secret');
  store.edit({ kind: 'world', topic: 'office' }, 'five');
  const files = await Array.fromAsync(exportedMemory(store, 'helper'));
  expect(files).toEqual([
    { path: 'agents/helper/MEMORY.md', text: 'me' },
    { path: '2026-11-22.md', text: 'by hand\n' },
    { path: '2026-11-20.md', text: own },
    { path: 'world/office.md', text: 'five' },
  ]);
});

it('of what no agent is named is refused', async () => {
  const files = Array.fromAsync(exportedMemory(memoryMemoryStore(), '../x'));
  await expect(files).rejects.toMatchObject({ code: 'invalid_request' });
});
