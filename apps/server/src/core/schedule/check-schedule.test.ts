import type { Schedule } from '@duragent/protocol';
import { expect, test } from 'vitest';
import { checkSchedule } from './check-schedule.ts';

const good: Schedule = {
  id: 'morning',
  agent: 'assistant',
  spec: { cron: '0 7 * * 1-5', zone: 'Europe/Berlin' },
  payload: { kind: 'task', text: 'Say good morning.' },
  target: 'isolated',
  misfire: 'run_once',
  paused: false,
};
const chat = { gateway: 'telegram', account: 'telegram', chat_id: '5' };

test.each<[string, Partial<Schedule>]>([
  ['a cron rule', {}],
  ['a text of 32 KiB', { payload: { kind: 'task', text: 'x'.repeat(32 * 1024) } }],
  ['a message to chats', { payload: { kind: 'message', text: 'Hi' }, deliver: [chat] }],
  ['a message to a session', { payload: { kind: 'message', text: 'Hi' }, target: { key: 'k' } }],
  ['ten seconds', { spec: { every: '10s' } }],
  ['a year', { spec: { every: '366d' } }],
  ['a moment', { spec: { at: '2026-03-01T07:00:00Z' } }],
])('%s is fine', (_, change) => {
  expect(checkSchedule({ ...good, ...change })).toBeNull();
});

test.each<[string, Partial<Schedule>, string, string]>([
  ['blank text', { payload: { kind: 'task', text: ' \n' } }, 'payload.text', 'write the text'],
  [
    'too many bytes',
    { payload: { kind: 'task', text: 'ä'.repeat(20_000) } },
    'payload.text',
    'shorten',
  ],
  [
    'a message to nobody',
    { payload: { kind: 'message', text: 'Hi' } },
    'payload.kind',
    'needs chats',
  ],
  ['nine seconds', { spec: { every: '9s' } }, 'spec.every', 'from 10s'],
  ['more than a year', { spec: { every: '999999999d' } }, 'spec.every', 'to 366d'],
  ['an unknown zone', { spec: { cron: '0 7 * * *', zone: 'Mars/Base' } }, 'spec.zone', 'IANA'],
  ['seconds', { spec: { cron: '* * * * * *', zone: 'UTC' } }, 'spec.cron', 'five fields'],
  ['February 30', { spec: { cron: '0 0 30 2 *', zone: 'UTC' } }, 'spec.cron', 'no such day'],
])('%s is a flaw', (_, change, path, words) => {
  const flaw = checkSchedule({ ...good, ...change });
  expect(flaw?.path.join('.')).toBe(path);
  expect(flaw?.message).toContain(words);
});
