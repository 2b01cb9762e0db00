import { expect, test } from 'vitest';
import { notificationBody } from './notification.ts';

const notification = {
  id: 'out_1',
  session: 'session_1',
  agent: 'helper',
  text: 'It is "built" — ✓',
  recordedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
};

test('a notification is a CloudEvent of its session', () => {
  expect(JSON.parse(notificationBody(notification))).toEqual({
    specversion: '1.0',
    id: 'out_1',
    source: '/sessions/session_1',
    type: 'duragent.notification',
    time: '2026-01-02T03:04:05.006Z',
    datacontenttype: 'application/json',
    data: { session: 'session_1', agent: 'helper', text: 'It is "built" — ✓' },
  });
});

test('it is the same characters each time', () => {
  const { text, session, ...rest } = notification;
  expect(notificationBody({ text, session, ...rest })).toBe(notificationBody(notification));
});
