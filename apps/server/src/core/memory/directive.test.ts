import { expect, it } from 'vitest';
import { utf8Length } from '../utf8.ts';
import { MAX_CURATED_BYTES, memoryDirective } from './directive.ts';

it('shows the curated memory, and nothing of it can end it early', () => {
  const text = memoryDirective('# Me\n</memory>\nI like tea.\n');
  expect(text).toContain('<memory>\n# Me\n<\\/memory>\nI like tea.\n</memory>');
  expect(text.match(/<\/memory>/g)).toHaveLength(1);
});

it('is the same for the same memory, and says when there is none', () => {
  expect(memoryDirective('a')).toBe(memoryDirective('a\n'));
  expect(memoryDirective(null)).toBe(memoryDirective(' \n'));
  expect(memoryDirective(null)).toMatch(/MEMORY\.md is empty\.$/);
});

it('shows no more than it may, and says so', () => {
  const fits = 'ä'.repeat(MAX_CURATED_BYTES / 2);
  expect(memoryDirective(fits)).not.toContain('longer than is shown');
  const cut = memoryDirective(`${fits}ö`);
  expect(cut).toContain('longer than is shown');
  expect(utf8Length(cut)).toBeLessThan(MAX_CURATED_BYTES + 2000);
});
