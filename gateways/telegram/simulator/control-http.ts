import type { Message, MessageEntity, Update } from 'grammy/types';
import type { TelegramControl } from './control.ts';
import type { Fault } from './faults.ts';
import { badRequest } from './refusal.ts';
import { isObject } from './values.ts';

/** Reads one argument; `undefined` where it may be missing. */
type Reader<T> = (value: unknown, name: string) => T;
type Shape = Record<string, Reader<unknown>>;
type Read<S extends Shape> = { [K in keyof S]: ReturnType<S[K]> };

const int: Reader<number> = (value, name) => {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw badRequest(`${name} must be a whole number`);
};
const number: Reader<number> = (value, name) => {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw badRequest(`${name} must be a number`);
};
const text: Reader<string> = (value, name) => {
  if (typeof value === 'string') return value;
  throw badRequest(`${name} must be a text`);
};
const flag: Reader<boolean> = (value, name) => {
  if (typeof value === 'boolean') return value;
  throw badRequest(`${name} must be true or false`);
};

function oneOf<const T extends readonly (string | number)[]>(...values: T): Reader<T[number]> {
  return (value, name) => {
    const known = values.find((it) => it === value);
    if (known === undefined) throw badRequest(`${name} must be one of ${values.join(', ')}`);
    return known;
  };
}

function maybe<T>(reader: Reader<T>): Reader<T | undefined> {
  return (value, name) => (value === undefined ? undefined : reader(value, name));
}

function list<T>(reader: Reader<T>): Reader<T[]> {
  return (value, name) => {
    if (!Array.isArray(value)) throw badRequest(`${name} must be a list`);
    return value.map((item: unknown, index) => reader(item, `${name}[${index}]`));
  };
}

/** An object with these fields and no others; what is missing has no key. */
function object<S extends Shape>(shape: S): Reader<Read<S>> {
  return (value, name) => {
    if (!isObject(value)) throw badRequest(`${name} must be an object`);
    const stranger = Object.keys(value).find((field) => !(field in shape));
    if (stranger !== undefined) {
      const known = Object.keys(shape).join(', ') || 'none';
      throw badRequest(`${name} has no field "${stranger}"; its fields: ${known}`);
    }
    const read = Object.entries(shape)
      .map(([field, reader]) => [field, reader(value[field], field)] as const)
      .filter(([, part]) => part !== undefined);
    return Object.fromEntries(read) as Read<S>;
  };
}

/** Parts of messages are taken as they are: it is the writer who says what the bot gets. */
const messageFields: Reader<Partial<Message>> = (value, name) => {
  if (isMessagePart(value)) return value;
  throw badRequest(`${name} must be an object`);
};
const recorded: Reader<Partial<Update>> = (value, name) => {
  if (isUpdatePart(value)) return value;
  throw badRequest(`${name} must be an object`);
};
const entity: Reader<MessageEntity> = (value, name) => {
  if (isEntity(value)) return value;
  throw badRequest(`${name} must have type, offset and length`);
};

function isMessagePart(value: unknown): value is Partial<Message> {
  return isObject(value);
}

function isUpdatePart(value: unknown): value is Partial<Update> {
  return isObject(value);
}

function isEntity(value: unknown): value is MessageEntity {
  return (
    isObject(value) &&
    typeof value['type'] === 'string' &&
    Number.isSafeInteger(value['offset']) &&
    Number.isSafeInteger(value['length'])
  );
}

const fault: Reader<Fault> = (value, name) => {
  const type = isObject(value) ? value['type'] : undefined;
  const of = <S extends Shape>(shape: S): Read<S> => object({ type: text, ...shape })(value, name);
  switch (type) {
    case 'retry_after':
      return { type, seconds: of({ seconds: int }).seconds };
    case 'status': {
      const read = of({ code: int, html: maybe(flag), processed: maybe(flag) });
      if (read.code < 500 || read.code > 599) throw badRequest('code must be from 500 to 599');
      return { type, code: read.code, html: read.html, processed: read.processed };
    }
    case 'cut':
      return { type, when: of({ when: oneOf('before', 'after', 'body') }).when };
    case 'slow':
      return { type, ms: of({ ms: int }).ms };
    case 'redeliver':
      return { type, back: of({ back: int }).back };
    case 'reorder':
      of({});
      return { type };
    default:
      throw badRequest(
        `${name}.type must be one of retry_after, status, cut, slow, redeliver, reorder`,
      );
  }
};

const status = oneOf('member', 'administrator', 'left', 'kicked');
const place = {
  chat_id: int,
  user_id: maybe(int),
  thread_id: maybe(int),
  reply_to: maybe(int),
};
const inChat = { chat_id: int };
const ofMessage = { chat_id: int, message_id: int };

type Route = (control: TelegramControl, body: unknown) => unknown;

function route<S extends Shape>(
  shape: S,
  run: (control: TelegramControl, read: Read<S>) => unknown,
): Route {
  const reader = object(shape);
  return (control, body) => run(control, reader(body, 'the body'));
}

/** Each function of the control API by its name. */
const routes = new Map<string, Route>(
  Object.entries({
    bot: route({}, (control) => control.bot()),
    createUser: route(
      {
        id: maybe(int),
        is_bot: maybe(flag),
        first_name: maybe(text),
        last_name: maybe(text),
        username: maybe(text),
        language_code: maybe(text),
        started: maybe(flag),
      },
      (control, read) => control.createUser(defined(read)),
    ),
    createChat: route(
      {
        type: oneOf('group', 'supergroup', 'channel'),
        title: text,
        id: maybe(int),
        username: maybe(text),
        is_forum: maybe(flag),
        members: maybe(list(int)),
        bot: maybe(status),
      },
      (control, read) => control.createChat(read),
    ),
    addMember: route({ chat_id: int, user_id: int }, (control, read) => control.addMember(read)),
    createTopic: route({ chat_id: int, user_id: maybe(int), name: text }, (control, read) =>
      control.createTopic(read),
    ),
    changeTopic: route(
      { chat_id: int, message_thread_id: int, is_closed: maybe(flag), is_deleted: maybe(flag) },
      (control, read) => control.changeTopic(read),
    ),
    say: route({ ...place, text, entities: maybe(list(entity)) }, (control, read) =>
      control.say(read),
    ),
    sendFile: route(
      {
        ...place,
        kind: oneOf(
          ...(['photo', 'document', 'video', 'audio', 'voice'] as const),
          ...(['animation', 'video_note', 'sticker'] as const),
        ),
        bytes: text,
        name: maybe(text),
        mime: maybe(text),
        caption: maybe(text),
        duration: maybe(int),
        width: maybe(int),
        height: maybe(int),
        emoji: maybe(text),
        title: maybe(text),
        performer: maybe(text),
      },
      (control, read) => control.sendFile(read),
    ),
    sendLocation: route({ ...place, latitude: number, longitude: number }, (control, read) =>
      control.sendLocation(read),
    ),
    sendContact: route({ ...place, phone_number: text, first_name: text }, (control, read) =>
      control.sendContact(read),
    ),
    sendOther: route({ ...place, fields: messageFields }, (control, read) =>
      control.sendOther(read),
    ),
    deliver: route({ update: recorded }, (control, read) => control.deliver(read)),
    edit: route({ ...ofMessage, text }, (control, read) => control.edit(read)),
    deleteMessage: route(ofMessage, (control, read) => control.deleteMessage(read)),
    press: route(
      { ...ofMessage, user_id: maybe(int), data: maybe(text), text: maybe(text) },
      (control, read) => control.press(read),
    ),
    presses: route({}, (control) => control.presses()),
    stopDraft: route(inChat, (control, read) => control.stopDraft(read)),
    drafts: route({ chat_id: maybe(int) }, (control, read) => control.drafts(read)),
    typing: route(inChat, (control, read) => control.typing(read)),
    block: route({ user_id: int }, (control, read) => control.block(read)),
    unblock: route({ user_id: int }, (control, read) => control.unblock(read)),
    setBotStatus: route({ chat_id: int, user_id: int, bot: status }, (control, read) =>
      control.setBotStatus(read),
    ),
    migrate: route(inChat, (control, read) => control.migrate(read)),
    readChat: route(
      { chat_id: int, thread_id: maybe(int), deleted: maybe(flag) },
      (control, read) => control.readChat(read),
    ),
    file: route({ file_id: text }, (control, read) => control.file(read)),
    calls: route({ method: maybe(text), after: maybe(int) }, (control, read) =>
      control.calls(read),
    ),
    updates: route({ after: maybe(number), full: maybe(flag) }, (control, read) =>
      control.updates(read),
    ),
    confirmed: route({}, (control) => control.confirmed()),
    snapshot: route({}, (control) => control.snapshot()),
    advanceClock: route({ ms: number }, (control, read) => control.advanceClock(read)),
    addFault: route(
      {
        fault,
        methods: maybe(list(text)),
        chat_id: maybe(int),
        nth: maybe(int),
        every: maybe(int),
        probability: maybe(number),
        seed: maybe(int),
        times: maybe(int),
      },
      (control, read) => control.addFault(read),
    ),
    removeFault: route({ id: maybe(int) }, (control, read) => control.removeFault(read)),
    faults: route({}, (control) => control.faults()),
    redeliver: route({ back: int }, (control, read) => control.redeliver(read)),
    setLimits: route({ limits: oneOf('off', 'telegram') }, (control, read) =>
      control.setLimits(read),
    ),
  }),
);

/** The names of all functions of the control API. */
export const controlNames: readonly string[] = [...routes.keys()];

/**
 * Carries out one function of the control API.
 * @throws Refusal for one that is not there, and for arguments that do not fit.
 */
export function runControl(control: TelegramControl, name: string, body: unknown): unknown {
  const known = routes.get(name);
  if (known === undefined) {
    throw badRequest(`there is no /control/${name}; there are: ${controlNames.join(', ')}`);
  }
  return known(control, body) ?? null;
}

/** What an object says without the fields that say nothing. */
function defined<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
