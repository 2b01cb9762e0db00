import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** Runs a program beside `heap` in a process of its own, whose flags it may change. @returns what it prints. */
function run(program: string): unknown {
  const url = new URL('v8.ts', import.meta.url).href;
  const text = `import { v8Heap } from ${JSON.stringify(url)}; import v8 from 'node:v8'; const heap = v8Heap();
const young = () => v8.getHeapSpaceStatistics().find((one) => one.space_name === 'new_space').space_size;
const kept = []; const survive = () => { for (let n = 0; n < 3e6; n += 1) kept[n % 3e5] = { n }; };
${program}`;
  const args = ['--conditions=@duragent/source', '--input-type=module', '--eval', text];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as unknown;
}

test('a collection takes what nobody holds, and gives its memory back', () => {
  const { held, freed, before, after } = run(`
    survive();
    const held = new WeakRef(kept[1]); const gone = new WeakRef(kept[0]); kept[0] = null;
    const before = heap.residentBytes();
    const rest = kept[1]; kept.length = 0; kept[1] = rest;
    setTimeout(() => {
      heap.collect();
      console.log(JSON.stringify({ held: held.deref() !== undefined, freed: gone.deref() === undefined, before, after: heap.residentBytes() }));
    }, 10);`) as { held: boolean; freed: boolean; before: number; after: number };
  expect([held, freed]).toEqual([true, true]);
  expect(before - after).toBeGreaterThan(8 * 1024 * 1024);
});

test('the young generation grows only while it may', () => {
  const [first, kept, grown] = run(`
    heap.preferSpeed(false);
    const first = young(); const smallest = Math.min(...Array.from({ length: 5 }, () => { survive(); return young(); }));
    heap.preferSpeed(true);
    survive();
    console.log(JSON.stringify([first, smallest, young()]));`) as number[];
  // The half that is copied to is taken at the first collection. For a moment it may have more pages.
  expect(kept).toBeLessThanOrEqual(2 * (first ?? 0));
  expect(grown).toBeGreaterThan(4 * (first ?? Infinity));
});

test('utilization is the part of the time in which the main thread works', () => {
  const [busy, idle] = run(`
    heap.utilization();
    for (const end = Date.now() + 200; Date.now() < end; );
    const busy = heap.utilization();
    setTimeout(() => console.log(JSON.stringify([busy, heap.utilization()])), 200);`) as number[];
  // Another process may have the core meanwhile.
  expect(busy).toBeGreaterThan(2 * (idle ?? Infinity));
  expect(busy).toBeLessThanOrEqual(1.1);
});
