import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gatewayEventSchema } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readMessage, readPress, type Arrival } from './inbound.ts';

let arrival: Arrival;
beforeEach(async () => {
  const mediaDir = await mkdtemp(path.join(tmpdir(), 'duragent-loopback-'));
  arrival = { messageId: 'u1', at: '2026-01-02T03:04:05.678Z', mediaDir };
});
afterEach(async () => {
  await rm(arrival.mediaDir, { recursive: true, force: true });
});

describe('a message', () => {
  test('of a chat and a text is one of a person in a direct chat', async () => {
    const event = await readMessage({ chat_id: 'c', text: 'hello' }, arrival);
    expect(event).toMatchObject({
      type: 'message_received',
      message_id: 'u1',
      edited: false,
      chat_id: 'c',
      sender: { id: 'user', is_bot: false },
      content: { text: 'hello' },
      routing: { channel: 'loopback', chat_type: 'dm', chat_id: 'c', sender_id: 'user' },
      timestamp: '2026-01-02T03:04:05.678Z',
    });
    expect(event.event_id).toMatch(/^in_/);
    expect(gatewayEventSchema.safeParse(event).error).toBeUndefined();
  });

  test('carries everything else that is said', async () => {
    const event = await readMessage(
      {
        chat_id: 'g',
        text: 'psst',
        sender: { id: '7', username: 'ann', display_name: 'Ann' },
        is_bot: true,
        chat_type: 'group',
        thread_id: 't',
        message_id: 'm7',
        event_id: 'e7',
        edited: true,
        mentions_bot: true,
        reply_to: 'm1',
        reply_to_bot: true,
      },
      arrival,
    );
    expect(event).toMatchObject({
      event_id: 'e7',
      message_id: 'm7',
      thread_id: 't',
      edited: true,
      mentions_bot: true,
      reply_to: 'm1',
      reply_to_bot: true,
      sender: { id: '7', username: 'ann', display_name: 'Ann', is_bot: true },
      routing: { chat_type: 'group', sender_id: '7' },
    });
  });

  test('has its files in the folder of the server, under names of our own', async () => {
    const media = [
      { name: '../../evil', mime: 'text/plain', text: 'héllo' },
      { base64: Buffer.from([0, 255]).toString('base64') },
    ];
    const { content } = await readMessage({ chat_id: 'c', media }, arrival);
    expect(content.media).toMatchObject([
      { name: '../../evil', mime: 'text/plain', size: 6 },
      { name: 'file', mime: 'application/octet-stream', size: 2 },
    ]);
    for (const { path: file, size } of content.media ?? []) {
      expect(path.relative(arrival.mediaDir, file)).not.toMatch(/^\.\./);
      expect((await stat(file)).size).toBe(size);
    }
    expect(await readFile(content.media?.[0]?.path ?? '', 'utf8')).toBe('héllo');
  });

  test.each([
    [[], 'one JSON object'],
    [{ text: 'x' }, 'chat_id'],
    [{ chat_id: '', text: 'x' }, 'chat_id'],
    [{ chat_id: 'c' }, 'text'],
    [{ chat_id: 'c', text: 7 }, 'text'],
    [{ chat_id: 'c', text: 'x', chat_type: 'crowd' }, 'chat_type'],
    [{ chat_id: 'c', text: 'x', sender: 7 }, 'sender.id'],
    [{ chat_id: 'c', text: 'x', event_id: '' }, 'event_id'],
    [{ chat_id: 'c', text: 'x', mention_bot: true }, '"mention_bot" is no field'],
    [{ chat_id: 'c', media: [{ text: 'x', base64: 'eA==' }] }, 'either text or base64'],
    [{ chat_id: 'c', media: [{ base64: 'no base64!' }] }, 'either text or base64'],
    [{ media: [{ text: 'x' }] }, 'chat_id'],
  ])('%j is refused by name, and leaves no file', async (body, message) => {
    await expect(readMessage(body, arrival)).rejects.toThrow(message);
    expect(await readdir(arrival.mediaDir)).toEqual([]);
  });
});

describe('a press', () => {
  test('is a callback query', () => {
    const press = { chat_id: 'c', message_id: 'm1', data: 'yes', sender: 'ann' };
    const event = readPress(press, arrival);
    expect(event).toMatchObject({ type: 'callback_query', ...press, sender: { id: 'ann' } });
    expect(gatewayEventSchema.safeParse(event).error).toBeUndefined();
  });

  test.each([
    [{ chat_id: 'c', data: 'x' }, 'message_id'],
    [{ chat_id: 'c', message_id: 'm' }, 'data'],
    [{ chat_id: 'c', message_id: 'm', data: 'x', text: 'y' }, '"text" is no field'],
  ])('%j is refused by name', (body, message) => {
    expect(() => readPress(body, arrival)).toThrow(message);
  });
});
