import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { readGatewayEvent } from '@duragent/protocol';
import type { Message, Update } from 'grammy/types';
import { describe, expect, test } from 'vitest';
import { readUpdate } from './inbound.ts';
import { MAX_DOWNLOAD_BYTES } from './inbound/file.ts';

const bot = { id: 42, username: 'Helper_Bot' };
const ann = { id: 7, is_bot: false, first_name: 'Ann', last_name: 'Lee', username: 'ann' };
const dm = { id: 7, type: 'private', first_name: 'Ann' } as const;
const group = { id: -100123, type: 'supergroup', title: 'Team' } as const;
const channel = { id: -100999, type: 'channel', title: 'News', username: 'news' } as const;
const at = new Date('2026-01-02T03:04:05Z');

type Fields = Partial<Omit<Message, 'chat'>> & { chat?: unknown };

/** What Telegram sends for a message; the fixed fields are those of a direct chat. */
function message(fields: Fields): Update {
  const whole = { message_id: 5, date: 1_700_000_000, chat: dm, from: ann, ...fields };
  return { update_id: 1, message: whole } as unknown as Update;
}

function read(update: Update) {
  return readUpdate(update, bot, at);
}

/** The event of an update, checked as the server would. */
function eventOf(update: Update) {
  const result = read(update);
  if (result.kind !== 'event') throw new Error(`ignored: ${result.reason}`);
  const checked = readGatewayEvent(structuredClone(result.event));
  if (!checked.ok) throw new Error(`no event of the protocol: ${JSON.stringify(checked.fault)}`);
  return result.event;
}

describe('a message', () => {
  test('of a person comes with its sender, chat and time', () => {
    expect(eventOf(message({ text: 'hello' }))).toEqual({
      type: 'message_received',
      event_id: 'm:7:5:0',
      message_id: '5',
      edited: false,
      chat_id: '7',
      sender: { id: '7', username: 'ann', display_name: 'Ann Lee', is_bot: false },
      content: { text: 'hello' },
      routing: { channel: 'telegram', chat_type: 'dm', chat_id: '7', sender_id: '7' },
      mentions_bot: false,
      reply_to_bot: false,
      timestamp: '2023-11-14T22:13:20.000Z',
      metadata: {},
    });
  });

  test('has the same event_id on a redelivery under another update id, and another after an edit', () => {
    const first = message({ text: 'a' });
    const again = { ...first, update_id: 900 };
    const edited = message({ text: 'b', edit_date: 1_700_000_100 });
    const edit = { update_id: 2, edited_message: edited.message } as Update;
    expect(eventOf(again)).toEqual(eventOf(first));
    expect(eventOf(edit)).toMatchObject({
      event_id: expect.stringMatching(/^m:7:5:1700000100:[0-9a-f]{8}$/),
      edited: true,
      content: { text: 'b' },
      timestamp: '2023-11-14T22:15:00.000Z',
    });
  });

  test('has another event_id after each of two edits within one second', () => {
    const edited = (text: string): Update => {
      const { message: whole } = message({ text, edit_date: 1_700_000_100 });
      return { update_id: 2, edited_message: whole } as Update;
    };
    const ids = [edited('b'), edited('c'), { ...edited('b'), update_id: 9 }].map((update) => {
      const event = eventOf(update);
      return 'event_id' in event ? event.event_id : '';
    });
    expect(ids[1]).not.toBe(ids[0]);
    expect(ids[2]).toBe(ids[0]);
  });

  test('with a place that is shared live is one, however far it moves', () => {
    const fields = { location: { latitude: 1.5, longitude: -2, live_period: 900 } };
    expect(eventOf(message(fields))).toMatchObject({ edited: false });
    const { message: moved } = message({ ...fields, edit_date: 1_700_000_100 });
    expect(read({ update_id: 2, edited_message: moved } as Update).kind).toBe('ignored');
  });

  test.each([
    [dm, 'dm'],
    [{ ...group, type: 'group' }, 'group'],
    [group, 'group'],
    [channel, 'channel'],
  ])('of %o is one of a %s', (chat, type) => {
    expect(eventOf(message({ chat, text: 'x' }))).toMatchObject({ routing: { chat_type: type } });
  });

  test('of an anonymous admin or a channel is by that chat', () => {
    const admin = { id: 1087968824, is_bot: true, first_name: 'Group' };
    expect(
      eventOf(message({ chat: group, from: admin, sender_chat: group, text: 'x' })),
    ).toMatchObject({ sender: { id: '-100123', display_name: 'Team', is_bot: false } });
    const post = message({ chat: channel, text: 'x' }).message;
    const { from: _, ...anonymous } = post as Message;
    expect(eventOf({ update_id: 1, channel_post: anonymous } as Update)).toMatchObject({
      sender: { id: '-100999', username: 'news' },
      routing: { chat_type: 'channel', sender_id: '-100999' },
    });
  });

  test('in a topic has its thread, and does not answer the message that opened it', () => {
    const opener = {
      message_id: 3,
      date: 1,
      chat: group,
      from: { id: 42 },
      forum_topic_created: {},
    };
    const event = eventOf(
      message({
        chat: group,
        text: 'x',
        is_topic_message: true,
        message_thread_id: 3,
        reply_to_message: opener,
      } as unknown as Fields),
    );
    expect(event).toMatchObject({ thread_id: '3', reply_to_bot: false });
    expect(event).not.toHaveProperty('reply_to');
  });

  test('in a thread of replies has no thread of its own', () => {
    const answered = { message_id: 3, date: 1, chat: group, from: { ...ann, id: 42 } };
    const event = eventOf(
      message({
        chat: group,
        text: 'x',
        message_thread_id: 3,
        reply_to_message: answered,
      } as unknown as Fields),
    );
    expect(event).toMatchObject({ reply_to: '3', reply_to_bot: true });
    expect(event).not.toHaveProperty('thread_id');
  });

  test('of this bot itself is not told', () => {
    expect(read(message({ from: { ...ann, id: 42 }, text: 'x' })).kind).toBe('ignored');
  });

  test('keeps what was forwarded or quoted beside the text', () => {
    const forward_origin = { type: 'hidden_user', sender_user_name: 'Eve', date: 1 } as const;
    const quote = { text: 'q'.repeat(2000), position: 0 };
    expect(eventOf(message({ text: 'x', forward_origin, quote }))).toMatchObject({
      content: { text: 'x' },
      metadata: { forwarded_from: 'Eve', quote: 'q'.repeat(1024) },
    });
  });
});

describe('a mention', () => {
  const entity = (type: string, offset: number, length: number, more = {}) =>
    [{ type, offset, length, ...more }] as unknown as NonNullable<Message['entities']>;

  test.each([
    ['by name, in any case', '👋 @helper_bot hi', entity('mention', 3, 11), true],
    ['of another', 'hey @other_bot hi', entity('mention', 4, 10), false],
    ['in words only', '@helper_bot', undefined, false],
    [
      'without a name',
      'you there',
      entity('text_mention', 0, 3, { user: { ...ann, id: 42 } }),
      true,
    ],
    ['of another without a name', 'you', entity('text_mention', 0, 3, { user: ann }), false],
    ['by a command to this bot', '/new@Helper_Bot', entity('bot_command', 0, 15), true],
    ['by a command to another', '/new@other_bot', entity('bot_command', 0, 14), false],
    ['by a command to all', '/new', entity('bot_command', 0, 4), false],
  ])('%s', (_, text, entities, mentions_bot) => {
    expect(eventOf(message({ chat: group, text, ...(entities && { entities }) }))).toMatchObject({
      mentions_bot,
    });
  });

  test('counts in a caption too', () => {
    const photo = [{ file_id: 'f', file_unique_id: 'u', width: 1, height: 1 }];
    const caption_entities = entity('mention', 0, 11);
    const event = message({ chat: group, photo, caption: '@helper_bot look', caption_entities });
    expect(eventOf(event)).toMatchObject({
      mentions_bot: true,
      content: { text: '@helper_bot look' },
    });
  });

  test('behind a command to this bot is taken off, and stays behind one to another', () => {
    const say = (text: string, length: number) =>
      eventOf(message({ chat: group, text, entities: entity('bot_command', 0, length) }));
    expect(say('/stop@helper_bot now', 16)).toMatchObject({ content: { text: '/stop now' } });
    expect(say('/stop@other_bot now', 15)).toMatchObject({
      content: { text: '/stop@other_bot now' },
    });
  });
});

describe('a file', () => {
  const of = (update: Update) => {
    const result = read(update);
    return result.kind === 'event' ? result.file : null;
  };
  const file = { file_id: 'F', file_unique_id: 'U', file_size: 10 };

  test.each([
    [
      'photo',
      {
        photo: [
          { ...file, width: 1, height: 1 },
          { ...file, file_id: 'L', width: 9, height: 9 },
          { ...file, width: 3, height: 3 },
        ],
      },
      { fileId: 'L', name: 'photo.jpg', mime: 'image/jpeg' },
    ],
    ['voice', { voice: { ...file, duration: 1, mime_type: 'audio/ogg' } }, { name: 'voice.ogg' }],
    [
      'audio',
      { audio: { ...file, duration: 1, file_name: 'a/../song.mp3' } },
      { name: 'song.mp3' },
    ],
    ['video', { video: file }, { name: 'video.mp4' }],
    ['video_note', { video_note: file }, { mime: 'video/mp4' }],
    [
      'sticker',
      { sticker: { ...file, is_animated: false, is_video: false } },
      { mime: 'image/webp' },
    ],
    [
      'sticker',
      { sticker: { ...file, is_animated: false, is_video: true } },
      { mime: 'video/webm' },
    ],
    ['animation', { animation: file, document: file }, { name: 'animation.mp4' }],
    [
      'document',
      { document: { ...file, file_name: '..\\..\\evil\u202e.pdf', mime_type: 'application/pdf' } },
      { name: 'evil_.pdf', mime: 'application/pdf' },
    ],
  ])('%s is fetched before its event is sent', (kind, fields, expected) => {
    const update = message({ ...fields, caption: 'look' } as unknown as Fields);
    expect(of(update)).toMatchObject({ kind, fileId: 'F', size: 10, ...expected });
    expect(read(update)).toMatchObject({ event: { content: { text: 'look' } } });
  });

  test('that is larger than bots may have is named', () => {
    const video = { ...file, file_size: MAX_DOWNLOAD_BYTES + 1 };
    const update = message({ video } as unknown as Fields);
    expect(of(update)).toBeNull();
    expect(eventOf(update)).toMatchObject({
      content: { unknown: expect.stringContaining('20 MB') },
    });
  });
});

describe('other content', () => {
  test('is told in the words of the protocol', () => {
    const location = { latitude: 1.5, longitude: -2 };
    const venue = { location, title: 'Café', address: 'Main St' };
    expect(eventOf(message({ location }))).toMatchObject({ content: { location } });
    expect(eventOf(message({ location, venue }))).toMatchObject({
      content: { location: { ...location, name: 'Café, Main St' } },
    });
    const contact = { first_name: 'Bo', last_name: 'Xi', phone_number: '+1' };
    expect(eventOf(message({ contact }))).toMatchObject({
      content: { contact: { name: 'Bo Xi', phone: '+1' } },
    });
    expect(eventOf(message({ poll: {} } as unknown as Fields))).toMatchObject({
      content: { unknown: 'poll' },
    });
  });

  test('of a rich message is its words', () => {
    const blocks = [
      { type: 'heading', size: 1, text: 'Title' },
      {
        type: 'paragraph',
        text: ['a ', { type: 'bold', text: ['b', { type: 'italic', text: 'c' }] }],
      },
      { type: 'list', items: [{ label: '1', blocks: [{ type: 'paragraph', text: 'one' }] }] },
      {
        type: 'table',
        cells: [
          [{ text: 'x' }, { text: 'y' }],
          [{}, { text: 'z' }],
        ],
      },
    ];
    expect(eventOf(message({ rich_message: { blocks } } as unknown as Fields))).toMatchObject({
      content: { text: 'Title\na bc\none\nx | y\n | z' },
    });
  });

  test.each([
    { new_chat_members: [ann] },
    { left_chat_member: ann },
    { pinned_message: {} },
    { new_chat_title: 'x' },
    { forum_topic_created: { name: 'x', icon_color: 1 } },
  ])('that is a service message is not told: %o', (fields) => {
    expect(read(message(fields as unknown as Fields)).kind).toBe('ignored');
  });
});

describe('a group that moves', () => {
  test('is told once, from whichever side Telegram tells it', () => {
    const old = { id: -5, type: 'group', title: 'T' };
    const from = eventOf(message({ chat: old, migrate_to_chat_id: -100123 }));
    const to = eventOf(message({ chat: group, migrate_from_chat_id: -5 }));
    expect(from).toEqual({
      type: 'chat_migrated',
      event_id: 'g:-5:-100123',
      chat_id: '-5',
      new_chat_id: '-100123',
    });
    expect(to).toEqual(from);
  });
});

describe('a button', () => {
  const query = { id: 'q1', from: ann, chat_instance: 'c', data: 'appr_1' };

  test('is told with who pressed it, and where', () => {
    const { message: below } = message({
      chat: group,
      is_topic_message: true,
      message_thread_id: 3,
    });
    const update = { update_id: 1, callback_query: { ...query, message: below } } as Update;
    expect(eventOf(update)).toEqual({
      type: 'callback_query',
      event_id: 'c:q1',
      callback_query_id: 'q1',
      chat_id: '-100123',
      thread_id: '3',
      chat_type: 'group',
      sender: { id: '7', username: 'ann', display_name: 'Ann Lee', is_bot: false },
      message_id: '5',
      data: 'appr_1',
    });
  });

  test('of an inline message is not told', () => {
    const update = { update_id: 1, callback_query: { ...query, inline_message_id: 'i' } };
    expect(read(update as unknown as Update).kind).toBe('ignored');
  });
});

describe('the stop button of a draft', () => {
  test('is what typing /stop would be', () => {
    const stopped_message_generation = { chat: dm, draft_id: 9, message_thread_id: 4 };
    expect(eventOf({ update_id: 8, stopped_message_generation })).toMatchObject({
      type: 'message_received',
      event_id: 's:7:9:8',
      thread_id: '4',
      sender: { id: '7' },
      content: { text: '/stop' },
      timestamp: at.toISOString(),
    });
  });
});

describe('any other update', () => {
  test.each(['my_chat_member', 'chat_member', 'poll', 'message_reaction', 'something_new'])(
    '%s is confirmed and not told',
    (kind) => {
      const update = { update_id: 1, [kind]: {} } as unknown as Update;
      expect(read(update)).toEqual({ kind: 'ignored', reason: kind });
    },
  );
});

describe('recorded updates', () => {
  const folder = path.join(import.meta.dirname, '../fixtures');
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

  test.each(files)('%s gives events of the protocol', (name) => {
    const recorded: unknown = JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
    const updates = (Array.isArray(recorded) ? recorded : [recorded]) as Update[];
    expect(updates.length).toBeGreaterThan(0);
    for (const update of updates) if (read(update).kind === 'event') eventOf(update);
  });
});
