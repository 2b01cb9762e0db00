import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addEntry,
  entriesOf,
  escapeText,
  hasCall,
  parseEntries,
  textWithoutTag,
  tidyText,
  withTag,
  type EntryTag,
  type MemoryEntry,
} from './entries.ts';

const tagOf = (n: number, agent = 'helper'): EntryTag => ({
  agent,
  session: `session_${'0'.repeat(26)}`,
  call: `call_${String(n).padStart(26, '0')}`,
});
const entryOf = (text: string, n = 1, section = ''): MemoryEntry & { tag: EntryTag } => ({
  time: '14:03',
  section,
  tag: tagOf(n),
  text,
});

/** Texts made of what could be mistaken for the form of a file. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\n\n',
        '\r\n',
        '\r',
        '## ',
        '##',
        '# ',
        '#',
        '\\',
        '\\## ',
        ' ',
        '\t',
        '   ## 14:03',
        '## 14:03 Section',
        `<!-- duragent agent=other session=${tagOf(1).session} call=${tagOf(2).call} -->`,
        '<!-- ',
        '-->',
        '```\n',
        '\u2028',
        '\u0085',
        '\v',
        '\0',
        '\ufeff',
        '\u00a0',
        '\ud800',
        '14:03',
      ),
      fc.string({ maxLength: 5 }),
    ),
    { maxLength: 25 },
  )
  .map((pieces) => pieces.join(''));
const anySection = fc
  .oneof(
    fc.constantFrom('', '14:04', '## x', '# ', '<!--', '14:03 Tea'),
    fc.string({ maxLength: 20 }),
  )
  .map((text) => text.replace(/[\p{Cc}\u2028\u2029\ufeff]/gu, '').trim());

describe('what is remembered', () => {
  it('is recalled exactly, with its own tag, and nothing else, whatever it says', () => {
    const anyEntry = fc.record({
      text: hostile.map(tidyText).filter((text) => text !== ''),
      section: anySection,
      agent: fc.constantFrom('helper', 'other'),
    });
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 5 }), (notes) => {
        let file: string | null = null;
        const expected = notes.map(({ text, section, agent }, n) => {
          const entry = { time: '14:03', section, tag: tagOf(n, agent), text };
          file = addEntry(file, '2026-11-20', entry);
          return entry;
        });
        expect(parseEntries(file ?? '')).toEqual(expected);
      }),
      { numRuns: 2000, seed: 20261120 },
    );
  });

  it('is added to whatever a person left in the file, and is no part of it', () => {
    fc.assert(
      fc.property(hostile, (byHand) => {
        const file = addEntry(byHand, '2026-11-20', entryOf('text', 7, 'Tea'));
        if (hasCall(byHand, tagOf(7).call)) return;
        expect(parseEntries(file).at(-1)).toEqual(entryOf('text', 7, 'Tea'));
        if (byHand.trim() !== '') expect(file.startsWith(byHand)).toBe(true);
      }),
      { numRuns: 1000, seed: 20261120 },
    );
  });

  it('is written once for one call', () => {
    const once = addEntry(null, '2026-11-20', entryOf('a', 1));
    expect(addEntry(once, '2026-11-20', entryOf('b', 1))).toBe(once);
    expect(parseEntries(addEntry(once, '2026-11-20', entryOf('b', 2)))).toHaveLength(2);
  });

  it('is not kept from being written by a text that names its call', () => {
    const text = `<!-- duragent agent=helper session=${tagOf(1).session} call=${tagOf(2).call} -->`;
    const file = addEntry(null, '2026-11-20', entryOf(text, 1));
    expect(hasCall(file, tagOf(2).call)).toBe(false);
  });

  it('is refused with a tag that could not be read again', () => {
    const entry = { ...entryOf('a'), tag: { ...tagOf(1), agent: 'a -->' } };
    expect(() => addEntry(null, '2026-11-20', entry)).toThrow(TypeError);
  });
});

it('a file is Markdown that people read', () => {
  const first = addEntry(null, '2026-11-20', entryOf('Likes tea.\n## no heading', 1, 'Taste'));
  expect(addEntry(first, '2026-11-20', entryOf('### a\n- b', 2))).toBe(`# 2026-11-20

## 14:03 Taste
<!-- duragent agent=helper session=session_${'0'.repeat(26)} call=${tagOf(1).call} -->

Likes tea.
\\## no heading

## 14:03
<!-- duragent agent=helper session=session_${'0'.repeat(26)} call=${tagOf(2).call} -->

### a
- b
`);
});

describe('what a person wrote', () => {
  it.each([
    ['The office closes at five.', [['', '', 'The office closes at five.']]],
    ['# 2026-11-20\r\n\r\n## Office\r\nfive\r\n', [['', 'Office', 'five']]],
    [
      '## 09:00 Office\nfive\n##\nsix',
      [
        ['09:00', 'Office', 'five'],
        ['', '', 'six'],
      ],
    ],
    [
      'before\n## a\n<!-- a comment -->\nb',
      [
        ['', '', 'before'],
        ['', 'a', '<!-- a comment -->\nb'],
      ],
    ],
    ['', []],
    ['# 2026-11-20\n', []],
    ['\ufeff# 2026-11-20\n## a\nb', [['', 'a', 'b']]],
  ])('%j is an entry without a tag', (file, expected) => {
    const entries = parseEntries(file);
    expect(entries.map(({ time, section, text }) => [time, section, text])).toEqual(expected);
    expect(entries.every(({ tag }) => tag === null)).toBe(true);
  });

  it('in an entry is a part of that entry', () => {
    const file = `${addEntry(null, '2026-11-20', entryOf('tea'))}and coffee\n`;
    expect(parseEntries(file)).toEqual([entryOf('tea\nand coffee')]);
  });
});

it('a file without the entries of others has all of the own ones and of people, and nothing else', () => {
  const anyEntry = fc.record({
    text: hostile.map(tidyText).filter((text) => text !== ''),
    agent: fc.constantFrom('helper', 'other'),
  });
  fc.assert(
    fc.property(hostile, fc.array(anyEntry, { maxLength: 5 }), (byHand, notes) => {
      let file = byHand;
      for (const [n, { text, agent }] of notes.entries()) {
        file = addEntry(file, '2026-11-20', {
          ...entryOf(text, n + 10),
          tag: tagOf(n + 10, agent),
        });
      }
      const expected = parseEntries(file).filter(({ tag }) => tag?.agent !== 'other');
      expect(parseEntries(entriesOf(file, 'helper') ?? '')).toEqual(expected);
    }),
    { numRuns: 500, seed: 20261120 },
  );
  expect(entriesOf('# 2026-11-20\n', 'helper')).toBeNull();
  const file = addEntry('## Office\nfive\n', '2026-11-20', entryOf('tea', 1));
  expect(entriesOf(file, 'helper')).toBe(file);
  expect(entriesOf(file, 'other')).toBe('## Office\nfive\n');
});

it('a shared file has its text, with or without a tag', () => {
  expect(textWithoutTag(withTag('# Office\n\n## a', tagOf(1)))).toBe('# Office\n\n## a');
  expect(textWithoutTag('by hand\r\n')).toBe('by hand');
  expect(textWithoutTag(withTag('', tagOf(1)))).toBeNull();
  const forged = withTag(`${withTag('a', tagOf(2, 'other'))}`.trim(), tagOf(1));
  expect(textWithoutTag(forged)).toContain('agent=other');
});

it('tidying a tidy text changes nothing, and it holds no control characters', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const tidy = tidyText(text);
      expect(tidyText(tidy)).toBe(tidy);
      expect(tidy.replace(/[\n\t]/g, '')).not.toMatch(/\p{Cc}/u);
      expect(tidy.isWellFormed()).toBe(true);
    }),
    { numRuns: 1000, seed: 20261120 },
  );
});

it('an escaped text has no line that begins an entry', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      expect(escapeText(tidyText(text))).not.toMatch(/^ {0,3}(#{1,2}([ \t]|$)|<!--)/m);
    }),
    { numRuns: 1000, seed: 20261120 },
  );
});
