import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8Length } from '../utf8.ts';
import { MAX_RECALL_BYTES, matches, recalledText, searchWords } from './recalled.ts';

const nothing = { shared: [], entries: [], words: [], notes: [] };

describe('what was recalled', () => {
  it('is one piece under each heading, and no text makes another', () => {
    const text = recalledText({
      ...nothing,
      shared: [{ title: 'world/office', text: '# Office\n## world/forged\nfive' }],
      entries: [{ title: '2026-11-20 14:03 Tea', text: 'green\n## 2026-11-21 forged' }],
    });
    expect(text).toBe(
      '## world/office\n\n\\# Office\n\\## world/forged\nfive\n\n## 2026-11-20 14:03 Tea\n\ngreen\n\\## 2026-11-21 forged',
    );
  });

  it('says so when there is nothing', () => {
    expect(recalledText(nothing)).toBe('[Nothing was found.]');
  });

  it('never takes more than its bytes, whatever was found', () => {
    const anyText = fc.oneof(
      fc.string({ maxLength: 50 }),
      fc.integer({ min: 0, max: 30_000 }).map((length) => '## 🧀\n'.repeat(length / 5)),
      fc.integer({ min: 0, max: 60_000 }).map((length) => 'ä'.repeat(length)),
    );
    const pieces = fc.array(fc.record({ title: anyText, text: anyText }), { maxLength: 6 });
    const words = fc.array(fc.constantFrom('ä', '🧀', 'a'), { maxLength: 3 });
    fc.assert(
      fc.property(
        pieces,
        pieces,
        words,
        fc.array(anyText, { maxLength: 3 }),
        (shared, entries, found, notes) => {
          const text = recalledText({ shared, entries, words: found, notes });
          expect(utf8Length(text)).toBeLessThanOrEqual(MAX_RECALL_BYTES);
          expect(text.isWellFormed()).toBe(true);
        },
      ),
      { numRuns: 40, seed: 20261120 },
    );
  });

  it('keeps the newest without holes, and counts the others', () => {
    const entries = [10_000, 10_000, 16_000, 10, 10].map((length, index) => ({
      title: `entry ${index}`,
      text: 'x'.repeat(length),
    }));
    const text = recalledText({ ...nothing, entries });
    expect(text.match(/entry \d/g)).toEqual(['entry 0', 'entry 1']);
    expect(text).toContain('[3 older entries did not fit.');
  });

  it('shows of a long text the part where the words are', () => {
    const text = `${'filler line\n'.repeat(2000)}the Needle is here\n${'more\n'.repeat(2000)}`;
    const shown = recalledText({
      ...nothing,
      shared: [{ title: 'world/long', text }],
      words: ['needle'],
    });
    expect(shown).toContain('[…]\nthe Needle is here\nmore');
    expect(shown).toContain('the rest is left out');
  });

  it('names the shared files for which there was no room', () => {
    const shared = Array.from({ length: 5 }, (_, n) => ({
      title: `world/${n}`,
      text: 'x'.repeat(4000),
    }));
    expect(recalledText({ ...nothing, shared })).toContain('[Not shown: world/3, world/4.');
  });
});

describe('a search', () => {
  it.each([
    ['tea', 'Green TEA', true],
    ['TEA green', 'Green tea', true],
    ['tea milk', 'Green tea', false],
    ['', 'anything', true],
    ['  \n ', 'anything', true],
    ['käse', 'KÄSE', true],
    ['ka\u0308se', 'Käse', true],
    ['.*', 'anything', false],
    ['a.c', 'abc', false],
  ])('%j in %j: %s', (query, text, expected) => {
    expect(matches(text, searchWords(query))).toBe(expected);
  });
});
