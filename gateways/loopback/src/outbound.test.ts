import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CommandOf } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readConfig, type Post } from './format.ts';
import { Chats } from './outbound.ts';

let dir: string;
let told: string[];
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'duragent-loopback-'));
  told = [];
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

function open(config: Record<string, unknown> = {}): Chats {
  return new Chats(readConfig(config), ({ text }) => told.push(text));
}

function message(content: string, more: object = {}): CommandOf<'send_message'> {
  const type = 'send_message';
  const given = { type, request_id: 'r', chat_id: 'c', content, format: 'text', part: 1, parts: 1 };
  return { ...given, ...more } as CommandOf<'send_message'>;
}

/** Posts, and gives the id. */
async function post(chats: Chats, content: string, more: object = {}): Promise<string> {
  const answer = await chats.request(message(content, more));
  if (answer.type !== 'command_ok') throw new Error(JSON.stringify(answer));
  return answer.message_id ?? '';
}

function shown(chats: Chats): Post[] {
  return chats.posts.changes('c', 0);
}

describe('a message', () => {
  test('is shown with all that it came with', async () => {
    const chats = open();
    const inline_keyboard = [[{ text: 'Yes', data: 'y' }]];
    const more = { thread_id: 't', reply_to: 'u1', inline_keyboard, part: 2, parts: 3 };
    const message_id = await post(chats, 'hello', more);
    expect(shown(chats)).toMatchObject([
      {
        message_id,
        text: 'hello',
        thread_id: 't',
        reply_to: 'u1',
        buttons: inline_keyboard,
        part: 2,
        parts: 3,
        edits: [],
        deleted: false,
      },
    ]);
    expect(told).toEqual(['hello']);
  });

  test('that is too long in the unit of the config is refused, and one that fits is not', async () => {
    const chats = open({ max_length: 64, length_unit: 'bytes' });
    await post(chats, 'é'.repeat(32));
    const refused = await chats.request(message('é'.repeat(33)));
    expect(refused).toMatchObject({ type: 'command_error', code: 'too_long' });
    expect(shown(chats)).toHaveLength(1);
  });

  test('with a nonce that is known is not posted again, in its chat', async () => {
    const chats = open();
    const first = await post(chats, 'once', { nonce: 'n' });
    expect(await post(chats, 'once', { nonce: 'n' })).toBe(first);
    expect(await post(chats, 'once', { nonce: 'n', chat_id: 'other' })).not.toBe(first);
    expect(shown(chats)).toHaveLength(1);
  });

  test('is posted twice where nonces are switched off', async () => {
    const chats = open({ nonce: false });
    await post(chats, 'twice', { nonce: 'n' });
    await post(chats, 'twice', { nonce: 'n' });
    expect(shown(chats)).toHaveLength(2);
  });

  test('keeps its former texts when it is edited', async () => {
    const chats = open();
    const message_id = await post(chats, 'one');
    const edit = { type: 'edit_message', request_id: 'r', chat_id: 'c', message_id } as const;
    await chats.request({ ...edit, content: 'two', format: 'text' });
    await chats.request({ ...edit, content: 'three', format: 'text' });
    const [one] = shown(chats);
    expect(one).toMatchObject({ text: 'three', edit_count: 2 });
    expect(one?.edits.map(({ text }) => text)).toEqual(['one', 'two']);
  });

  test('can be finished by one that replaces it, and has its bound of buttons', async () => {
    const chats = open({ max_buttons: 1 });
    const message_id = await post(chats, 'one');
    expect(await post(chats, 'two', { replaces: { message_id } })).toBe(message_id);
    const gone = await chats.request(message('three', { replaces: { message_id: 'm0' } }));
    expect(gone).toMatchObject({ code: 'message_not_found' });
    const button = { text: 'Yes', data: 'y' };
    const many = await chats.request(message('x', { inline_keyboard: [[button, button]] }));
    expect(many).toMatchObject({ code: 'invalid_request' });
    expect(shown(chats).map(({ text }) => text)).toEqual(['two']);
  });

  test('that is deleted has no text any more, and cannot be edited', async () => {
    const chats = open();
    const message_id = await post(chats, 'secret');
    const about = { request_id: 'r', chat_id: 'c', message_id };
    await chats.request({ type: 'delete_message', ...about });
    expect(shown(chats)).toMatchObject([{ deleted: true, text: '', edits: [] }]);
    const edit = { type: 'edit_message', ...about, content: 'x', format: 'text' } as const;
    expect(await chats.request(edit)).toMatchObject({ code: 'message_not_found' });
  });

  test('is found by its nonce, or by its text, and not in another chat', async () => {
    const chats = open();
    const message_id = await post(chats, 'where', { nonce: 'n' });
    const after = '2020-01-01T00:00:00Z';
    const look = { type: 'find_message', request_id: 'r', author: 'self', after } as const;
    const find = (more: { chat_id: string; content: string; nonce?: string }) =>
      chats.request({ ...look, ...more });
    const found = { type: 'message_found', message_id };
    expect(await find({ chat_id: 'c', content: 'where' })).toEqual(found);
    expect(await find({ chat_id: 'c', content: 'other', nonce: 'n' })).toEqual(found);
    const none = { type: 'message_not_found' };
    expect(await find({ chat_id: 'c', content: 'where', nonce: 'n2' })).toEqual(none);
    expect(await find({ chat_id: 'd', content: 'where' })).toEqual(none);
    expect(
      await chats.request({ ...look, chat_id: 'c', content: 'where', after: '2999-01-01' }),
    ).toEqual(none);
  });
});

describe('a preview', () => {
  const preview = (content: string): CommandOf<'preview_message'> => ({
    type: 'preview_message',
    preview_id: 'p',
    chat_id: 'c',
    content,
  });

  test('is one message that grows and is finished by what replaces it', async () => {
    const chats = open();
    const first = chats.preview(preview('He'));
    expect(chats.preview(preview('Hello'))).toBeNull();
    const id = await post(chats, 'Hello.', { replaces: { preview_id: 'p' } });
    expect(id).toBe(first?.message_id);
    expect(shown(chats)).toMatchObject([{ text: 'Hello.', preview: false, edit_count: 2 }]);
  });

  test('that comes after its end changes nothing', async () => {
    const chats = open();
    await post(chats, 'Hello.', { replaces: { preview_id: 'p' } });
    expect(chats.preview(preview('He'))).toBeNull();
    expect(shown(chats)).toMatchObject([{ text: 'Hello.' }]);
  });

  test('is not shown where previews are switched off', () => {
    const chats = open({ preview: false });
    expect(chats.preview(preview('He'))).toBeNull();
    expect(shown(chats)).toEqual([]);
  });
});

describe('what is switched off', () => {
  test.each([
    [{ edit: false }, { type: 'edit_message', message_id: 'm', content: 'x', format: 'text' }],
    [{ delete: false }, { type: 'delete_message', message_id: 'm' }],
    [
      { media: false },
      { type: 'send_media', media: { url: 'https://a.b/c', name: 'c', mime: '' } },
    ],
    [{ find: false }, { type: 'find_message', content: 'x', author: 'self', after: '2020' }],
  ])('%j is refused', async (config, request) => {
    const command = { request_id: 'r', chat_id: 'c', ...request };
    const answer = await open(config).request(command as CommandOf<'send_media'>);
    expect(answer).toMatchObject({ type: 'command_error', code: 'invalid_request' });
  });

  test('is left out of what is posted', async () => {
    const off = { inline_keyboard: false, threads: false, reply: false, edit: false };
    const chats = open(off);
    const inline_keyboard = [[{ text: 'Yes', data: 'y' }]];
    const message_id = await post(chats, 'x', { inline_keyboard, thread_id: 't', reply_to: 'u' });
    const [one] = shown(chats);
    expect(one).toMatchObject({ buttons: [] });
    expect(one?.thread_id ?? one?.reply_to).toBeUndefined();
    expect(await post(chats, 'y', { replaces: { message_id } })).not.toBe(message_id);
  });
});

describe('a file', () => {
  test('is shown by its size and its hash, and has its bound', async () => {
    const chats = open({ media_max_bytes: 5 });
    const file = path.join(dir, 'file');
    writeFileSync(file, 'hello');
    const send = { type: 'send_media', request_id: 'r', chat_id: 'c' } as const;
    const about = { name: 'a.txt', mime: 'text/plain' };
    await chats.request({ ...send, media: { ...about, path: file } });
    await chats.request({ ...send, media: { ...about, base64: 'aGVsbG8=' } });
    const sha256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
    const files = shown(chats).flatMap((one) => one.files);
    expect(files).toMatchObject([
      { ...about, size: 5, sha256, path: file },
      { ...about, size: 5, sha256 },
    ]);
    writeFileSync(file, 'hello!');
    const answer = await chats.request({ ...send, media: { ...about, path: file } });
    expect(answer).toMatchObject({ code: 'too_long' });
    const missing = await chats.request({ ...send, media: { ...about, path: `${file}.no` } });
    expect(missing).toMatchObject({ code: 'invalid_request' });
  });
});

describe('what is kept', () => {
  test('is bounded: the oldest posts go first', async () => {
    const chats = open();
    for (let n = 1; n <= 1005; n += 1) await post(chats, `post ${n}`);
    expect(shown(chats)).toHaveLength(1000);
    expect(shown(chats)[0]?.text).toBe('post 6');
  });

  test('is in the state file before a request is answered, and survives', async () => {
    const config = { state_file: path.join(dir, 'state.json') };
    const before = open(config);
    const id = await post(before, 'kept', { nonce: 'n' });
    // Nothing is closed: this is what a crash leaves.
    const after = open(config);
    expect(shown(after)).toMatchObject([{ text: 'kept', message_id: id }]);
    expect(await post(after, 'kept', { nonce: 'n' })).toBe(id);
    expect(await post(after, 'new')).not.toBe(id);
    expect(after.posts.lastChange).toBe(2);
    expect(statSync(config.state_file).mode & 0o777).toBe(0o600);
  });

  test('is asked for by the place of the newest change', async () => {
    const chats = open();
    const first = await post(chats, 'first');
    await post(chats, 'second');
    const { lastChange } = chats.posts;
    const about = { request_id: 'r', chat_id: 'c', message_id: first };
    await chats.request({ type: 'edit_message', ...about, content: 'edited', format: 'text' });
    expect(chats.posts.changes('c', lastChange).map(({ text }) => text)).toEqual(['edited']);
    expect(chats.posts.changes('c', chats.posts.lastChange)).toEqual([]);
    // A number of a run whose posts are forgotten.
    expect(chats.posts.changes('c', 999)).toHaveLength(2);
  });
});
