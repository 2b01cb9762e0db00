import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fillTemplate, usesTime } from './templates.ts';

const values = { date: '2026-11-20', time: '10:00', agentName: 'my-bot', agentHome: '/a/$1/$&' };

it('fills the four placeholders, everywhere', () => {
  const text = '{{date}} {{time}} {{agent.name}} {{agent.home}} {{date}}';
  expect(fillTemplate(text, values)).toBe('2026-11-20 10:00 my-bot /a/$1/$& 2026-11-20');
});

it.each([
  '{{agent}}',
  '{{ date }}',
  '{date}',
  '{{Date}}',
  '{{agentXname}}',
  '{{user.name}}',
  '{{',
  '}}',
])('leaves %s as it is', (text) => {
  expect(fillTemplate(text, values)).toBe(text);
});

it('does not look at what was put in', () => {
  expect(fillTemplate('{{date}}', { ...values, date: '{{time}}' })).toBe('{{time}}');
  expect(fillTemplate('{{{{date}}}}', values)).toBe('{{2026-11-20}}');
});

it('takes any text, and leaves one without placeholders untouched', () => {
  const pieces = fc.constantFrom('{{', '}}', '{', '}', 'date', 'time', 'agent.', 'name', ' ', '$&');
  const texts = fc.oneof(
    fc.string(),
    fc.array(pieces).map((some) => some.join('')),
  );
  fc.assert(
    fc.property(texts, texts, (text, value) => {
      const all = { date: value, time: value, agentName: value, agentHome: value };
      const filled = fillTemplate(text, all);
      if (!/\{\{(date|time|agent\.(name|home))\}\}/.test(text)) expect(filled).toBe(text);
      expect(usesTime(text)).toBe(text.split('{{time}}').length > 1);
    }),
  );
});

it('is quick with texts made to be slow', () => {
  const started = performance.now();
  for (const piece of ['{{', '{{date', '{{agent.', '{{date}', ' ']) {
    fillTemplate(piece.repeat(200_000), values);
  }
  expect(performance.now() - started).toBeLessThan(2000);
});
