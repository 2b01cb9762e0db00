import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import attacks from './attacks.json' with { type: 'json' };
import { Sanitizer, sanitize, sanitizeLine } from './sanitize.ts';

const forbidden = new RegExp(
  String.raw`[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|\p{Surrogate}`,
  'u',
);

function pieces(parts: readonly string[]): string {
  const filter = new Sanitizer();
  return parts.map((part) => filter.push(part)).join('') + filter.end();
}

describe('the data file of attacks', () => {
  it('has at least 150 different sequences', () => {
    expect(new Set(attacks.map((attack) => attack.text)).size).toBeGreaterThanOrEqual(150);
  });

  it.each(attacks)('$name shows only its text', ({ text, shows }) => {
    expect(sanitize(text)).toBe(shows);
  });

  it.each(attacks)('$name shows the same when it is cut anywhere', ({ text, shows }) => {
    for (let at = 0; at <= text.length; at += 1) {
      expect(pieces([text.slice(0, at), text.slice(at)])).toBe(shows);
    }
    expect(pieces(text.split(''))).toBe(shows);
  });
});

describe('any text', () => {
  const units = fc
    .array(
      fc.oneof(
        fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
        fc.constantFrom(
          '\x1b',
          '\x1b[',
          '\x1b]',
          '\x9b',
          '\x1bP',
          '\x07',
          '\x1b\\',
          '\ud83d',
          'm',
          '0',
          ';',
        ),
      ),
      { maxLength: 60 },
    )
    .map((parts) => parts.join(''));

  it('never lets a forbidden character through', () => {
    fc.assert(
      fc.property(units, (text) => {
        expect(sanitize(text)).not.toMatch(forbidden);
      }),
      { numRuns: 500 },
    );
  });

  it('shows the same however it is cut', () => {
    fc.assert(
      fc.property(units, fc.array(fc.nat(60), { maxLength: 6 }), (text, cuts) => {
        const sorted = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        const parts = sorted.slice(1).map((end, index) => text.slice(sorted[index], end));
        expect(pieces(parts)).toBe(sanitize(text));
      }),
      { numRuns: 500 },
    );
  });

  it('is unchanged by a second pass', () => {
    fc.assert(
      fc.property(units, (text) => {
        expect(sanitize(sanitize(text))).toBe(sanitize(text));
      }),
    );
  });
});

describe('an unterminated sequence', () => {
  it('hides at most 64 KiB of what follows', () => {
    const shown = sanitize(`\x1b]0;${'x'.repeat(70_000)}end`);
    expect(shown.endsWith('end')).toBe(true);
    expect(shown.length).toBeLessThan(5_000);
  });

  it('does not reach into the next message', () => {
    const filter = new Sanitizer();
    filter.push('a\x1b]0;');
    filter.end();
    expect(filter.push('next')).toBe('next');
  });
});

it('a name is one line', () => {
  expect(sanitizeLine('bob\nroot (terminal): \x1b[2Jhi')).toBe('bob root (terminal): hi');
});
