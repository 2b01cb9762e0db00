import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { createControl, type TelegramControl } from './control.ts';
import { FaultScript } from './faults.ts';
import { RateLimits } from './limits.ts';
import { updateTypes } from './update-queue.ts';
import { isObject, type JsonObject } from './values.ts';
import { World } from './world.ts';

const folder = path.join(import.meta.dirname, '../fixtures');
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

function read(name: string): JsonObject {
  const value: unknown = JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8'));
  if (!isObject(value)) throw new Error(`${name} is no object`);
  return value;
}

/** The names of all fields, without those that people may have or not. */
function shape(value: unknown, where = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => shape(item, `${where}[]`)))];
  if (!isObject(value)) return [where];
  return Object.entries(value).flatMap(([name, part]) =>
    part === undefined || optional.has(name) ? [] : shape(part, `${where}.${name}`),
  );
}
const optional = new Set([
  'last_name',
  'username',
  'language_code',
  'caption',
  'caption_entities',
  'set_name',
  'user_id',
]);

/** Each recorded update is one of a kind that the simulator makes too: both have the same fields. */
const made: Record<string, (control: TelegramControl, world: World) => void> = {
  'private-text': (control) => say(control, 'see https://a.example'),
  'private-command': (control) => say(control, '/start hello'),
  'private-reply': (control, world) => {
    const bot = world.botUser;
    const chat = { id: 7, type: 'private' as const, first_name: 'Ada' };
    const version = { text: 'x', entities: [], buttons: [], at: 0 };
    const state = world.chats.get(7);
    if (state === undefined) return;
    world.keep(state, { message_id: 5, from: bot, chat, date: 1, text: 'x' }, version, {
      isFromBot: true,
    });
    control.say({ chat_id: 7, text: 'and?', reply_to: 5 });
  },
  'edited-message': (control) => {
    const { message_id } = control.say({ chat_id: 7, text: 'x' });
    control.edit({ chat_id: 7, message_id, text: 'y' });
  },
  photo: (control) => file(control, 'photo'),
  document: (control) => file(control, 'document'),
  voice: (control) => file(control, 'voice'),
  sticker: (control) => file(control, 'sticker'),
  location: (control) => control.sendLocation({ chat_id: 7, latitude: 1, longitude: 2 }),
  contact: (control) =>
    control.sendOther({ chat_id: 7, fields: { contact: { phone_number: '1', first_name: 'a' } } }),
  'migrate-to-chat-id': (control) => {
    const { id } = control.createChat({ type: 'group', title: 'x', members: [7] });
    control.migrate({ chat_id: id });
  },
  'my-chat-member-blocked': (control) => void control.block({ user_id: 7 }),
  'my-chat-member-unblocked': (control) => {
    control.block({ user_id: 7 });
    control.unblock({ user_id: 7 });
  },
  'channel-post': (control) => {
    const { id } = control.createChat({ type: 'channel', title: 'x' });
    control.say({ chat_id: id, text: 'x' });
  },
  'topic-message': (control) => {
    const { id } = control.createChat({ type: 'supergroup', title: 'x', is_forum: true });
    const topic = control.createTopic({ chat_id: id, user_id: 7, name: 'x' });
    control.say({
      chat_id: id,
      user_id: 7,
      text: '@simulated_bot',
      thread_id: topic.message_thread_id,
    });
  },
};

function say(control: TelegramControl, text: string): void {
  control.say({ chat_id: 7, text });
}

function file(control: TelegramControl, kind: 'photo' | 'document' | 'voice' | 'sticker'): void {
  control.sendFile({ chat_id: 7, kind, bytes: Buffer.from('x'), name: 'x.pdf' });
}

describe('a recorded update', () => {
  test.each(names)('%s has an id and one field that says what it is', (name) => {
    const update = read(name.replace(/\.json$/, ''));
    const { update_id: id, ...rest } = update;
    expect(id).toBeTypeOf('number');
    expect(Object.keys(rest)).toHaveLength(1);
    expect(updateTypes).toContain(Object.keys(rest)[0]);
  });

  test('has an id of its own', () => {
    const ids = names.map((name) => read(name.replace(/\.json$/, ''))['update_id']);
    expect(new Set(ids).size).toBe(names.length);
  });

  test.each(Object.keys(made))('%s looks as the simulator’s own does', (name) => {
    const options = {
      seed: 1,
      token: undefined,
      username: 'simulated_bot',
      privacy: false,
      privateTopics: false,
    };
    const world = new World(options);
    const limits = new RateLimits(world.clock, 'off');
    const control = createControl({
      world,
      faults: new FaultScript(1),
      limits,
      calls: () => [],
    });
    control.createUser({ id: 7, first_name: 'Ada' });
    made[name]?.(control, world);
    const type = Object.keys(read(name)).find((field) => field !== 'update_id');
    const own = control
      .updates({ full: true })
      .findLast((update) =>
        name === 'migrate-to-chat-id'
          ? update.update?.message?.migrate_to_chat_id !== undefined
          : update.type === type,
      );
    expect(shape(own?.update).toSorted()).toEqual(shape(read(name)).toSorted());
  });
});
