import { callbackQuerySchema, messageReceivedSchema } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { arrivalOf, senderOf } from './arrival.ts';

const sender = { id: '123', username: '456', display_name: 'telegram:456' };
const message = (change: object = {}) =>
  messageReceivedSchema.parse({
    type: 'message_received',
    message_id: '5',
    chat_id: '-100',
    sender,
    content: { text: 'telegram:456' },
    routing: { chat_type: 'group', chat_id: '-100', sender_id: '123', sender_role: 'owner' },
    timestamp: '2026-11-20T10:00:00.000Z',
    ...change,
  });
const press = (change: object = {}) =>
  callbackQuerySchema.parse({
    type: 'callback_query',
    callback_query_id: '9',
    chat_id: '-100',
    sender,
    message_id: '5',
    data: 'telegram:456',
    ...change,
  });
const place = {
  gateway: 'telegram',
  chatType: 'group',
  chatId: '-100',
  senderId: '123',
  isBot: false,
};

describe('of a message', () => {
  it.each([
    ['text', {}],
    ['an edit', { edited: true }],
    ['a command', { content: { text: '/approve ABCDEFGH' } }],
    ['a place', { content: { location: { latitude: 1, longitude: 2 } } }],
  ])('with %s: the ids by which it is routed, no name', (_, change) => {
    expect(arrivalOf('telegram', message(change))).toEqual(place);
  });

  it('in a thread, by a bot, in a direct chat', () => {
    const routing = { chat_type: 'dm', chat_id: '123', sender_id: '123' };
    const event = message({ thread_id: '7', sender: { ...sender, is_bot: true }, routing });
    expect(arrivalOf('telegram', event, 'group')).toEqual({
      gateway: 'telegram',
      chatType: 'dm',
      chatId: '123',
      threadId: '7',
      senderId: '123',
      isBot: true,
    });
  });
});

describe('of a press', () => {
  it('with the type of its chat: that one, else the one that is known, else none', () => {
    expect(arrivalOf('telegram', press({ chat_type: 'group' }), 'dm')).toEqual(place);
    expect(arrivalOf('telegram', press(), 'group')).toEqual(place);
    expect(arrivalOf('telegram', press())).toBeNull();
  });

  it('in a thread and by a bot', () => {
    const event = press({ thread_id: '7', sender: { ...sender, is_bot: true }, chat_type: 'dm' });
    expect(arrivalOf('telegram', event)).toEqual({
      ...place,
      chatType: 'dm',
      threadId: '7',
      isBot: true,
    });
  });
});

it('the sender is named with the gateway', () => {
  const arrival = arrivalOf('telegram', message());
  expect(arrival && senderOf(arrival)).toBe('telegram:123');
});
