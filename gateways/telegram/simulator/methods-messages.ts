import type { InlineKeyboardMarkup, Message, MessageEntity, RichMessage } from 'grammy/types';
import { imageSize, type MediaDetails, type MediaKind, type StoredFile } from './files.ts';
import { formatText, type FormattedText } from './formatted-text.ts';
import { readKeyboard } from './keyboard.ts';
import type { Call, Method } from './method.ts';
import { checkLimits, checkThread, findChat, shownDraft } from './methods-chats.ts';
import { badRequest } from './refusal.ts';
import { readRichMessage } from './rich-message.ts';
import { replied, topicFields } from './topics.ts';
import { isObject, sameJson, textOf, wholeNumber } from './values.ts';
import type { ChatState, KeptMessage, Version } from './world.ts';

const MAX_TEXT = 4096;
const MAX_CAPTION = 1024;
const MAX_PHOTO = 10 * 1024 * 1024;
/** After this time a bot's messages stay for good. */
const DELETE_MS = 48 * 3_600_000;

const notModified =
  'message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message';

/** What a bot posts, changes and takes back. */
export const messageMethods: Record<string, Method> = {
  sendMessage(call) {
    const text = readText(call, 'text', 'entities', 'message text');
    if (text.text.length > MAX_TEXT) throw badRequest('message is too long');
    return post(call, { text });
  },
  sendRichMessage(call) {
    const rich = readRich(call, false);
    return post(call, { text: { text: rich.text, entities: [] }, rich: rich.message });
  },
  sendPhoto: (call) => postMedia(call, 'photo'),
  sendDocument: (call) => postMedia(call, 'document'),
  sendVideo: (call) => postMedia(call, 'video'),
  sendAudio: (call) => postMedia(call, 'audio'),
  sendVoice: (call) => postMedia(call, 'voice'),
  sendAnimation: (call) => postMedia(call, 'animation'),
  sendMessageDraft(call) {
    const text = formatText(call.parameters.text('text'), {
      ...formatOptions(call),
      emptyName: null,
    });
    if (text.text.length > MAX_TEXT) throw badRequest('message is too long');
    return showDraft(call, text);
  },
  sendRichMessageDraft: (call) =>
    showDraft(call, { text: readRich(call, true).text, entities: [] }),
  editMessageText,
  editMessageCaption,
  editMessageReplyMarkup(call) {
    const { state, kept } = findOwn(call);
    return change(call, state, kept, {});
  },
  deleteMessage(call) {
    const { world, parameters } = call;
    const state = findChat(world, parameters.text('chat_id'), 'read');
    const kept = state.messages.get(parameters.integer('message_id') ?? 0);
    if (kept === undefined || kept.deletedAt !== null) {
      throw badRequest('message to delete not found');
    }
    remove(call, state, kept);
    return true;
  },
  deleteMessages(call) {
    const { world, parameters } = call;
    const state = findChat(world, parameters.text('chat_id'), 'read');
    const ids = parameters.json('message_ids');
    if (!Array.isArray(ids) || ids.length < 1 || ids.length > 100) {
      throw badRequest('message identifiers are not specified');
    }
    for (const id of ids.map(wholeNumber)) {
      const kept = state.messages.get(id ?? 0);
      if (kept !== undefined && kept.deletedAt === null) remove(call, state, kept);
    }
    return true;
  },
};

interface Content {
  text: FormattedText;
  rich?: RichMessage;
  media?: Partial<Message>;
  fileIds?: string[];
}

/** Posts a message of the bot. */
function post(call: Call, { text, rich, media, fileIds }: Content): Message {
  const { world, parameters } = call;
  const keyboard = readKeyboard(parameters.json('reply_markup'));
  const state = findChat(world, parameters.text('chat_id'), 'write');
  const threadId = parameters.integer('message_thread_id');
  checkThread(world, state, threadId);
  if (state.chat.type === 'channel' && state.bot !== 'administrator') {
    throw badRequest('need administrator rights in the channel chat');
  }
  const reply = readReply(call, state);
  checkLimits(call, state);
  const inThread = topicFields(state, threadId);
  const message: Message = {
    message_id: world.nextMessageId(state),
    ...(state.chat.type === 'channel' ? { sender_chat: state.chat } : { from: world.botUser }),
    chat: state.chat,
    date: world.clock.seconds(),
    ...inThread,
    ...reply,
    ...media,
    ...contentFields(text, rich, media !== undefined),
    ...(keyboard === undefined ? {} : { reply_markup: keyboard }),
    ...(parameters.flag('protect_content') ? { has_protected_content: true } : {}),
  };
  world.keep(state, message, versionOf(call, text, keyboard), {
    isFromBot: true,
    ...(fileIds === undefined ? {} : { fileIds }),
  });
  world.typing.delete(state.chat.id);
  const draft = shownDraft(world, state.chat.id);
  if (draft !== undefined) draft.replacedAt = world.clock.now();
  return message;
}

function contentFields(
  { text, entities }: FormattedText,
  rich: RichMessage | undefined,
  isCaption: boolean,
): Partial<Message> {
  if (rich !== undefined) return { rich_message: rich };
  if (!isCaption) return { text, ...(entities.length > 0 ? { entities } : {}) };
  if (text === '') return {};
  return { caption: text, ...(entities.length > 0 ? { caption_entities: entities } : {}) };
}

function postMedia(call: Call, kind: MediaKind): Message {
  const { world, parameters } = call;
  const caption = readCaption(call);
  // Everything but the file is looked at first: a refused call leaves no file behind.
  findChat(world, parameters.text('chat_id'), 'write');
  readKeyboard(parameters.json('reply_markup'));
  const file = readFile(call, kind);
  const details: MediaDetails = {
    ...optional('duration', parameters.integer('duration')),
    ...optional('width', parameters.integer('width')),
    ...optional('height', parameters.integer('height')),
    ...optional('title', parameters.text('title') || undefined),
    ...optional('performer', parameters.text('performer') || undefined),
  };
  const media = world.files.media(kind, file, details);
  return post(call, { text: caption, media, fileIds: [file.file_id] });
}

function optional<K extends string, V>(name: K, value: V | undefined): Partial<Record<K, V>> {
  const field: Partial<Record<K, V>> = {};
  if (value !== undefined) field[name] = value;
  return field;
}

function readFile({ world, parameters }: Call, kind: MediaKind): StoredFile {
  const given = parameters.file(kind);
  if (given === undefined) throw badRequest(`there is no ${kind} in the request`);
  if (typeof given === 'string') {
    // A URL would have to be fetched, and this simulator has no network.
    if (/^https?:/i.test(given)) throw badRequest('failed to get HTTP URL content');
    const known = world.files.get(given);
    if (known === undefined) throw badRequest('wrong file identifier/HTTP URL specified');
    return known;
  }
  if (given.bytes.length === 0) throw badRequest('file must be non-empty');
  if (kind === 'photo') {
    if (given.bytes.length > MAX_PHOTO) throw badRequest('file is too big for a photo');
    if (imageSize(given.bytes) === undefined && !isWebp(given.bytes)) {
      throw badRequest('IMAGE_PROCESS_FAILED');
    }
  }
  const isGeneric = given.mime === undefined || given.mime === 'application/octet-stream';
  return world.files.add(kind, given.bytes, {
    ...optional('name', given.name),
    ...optional('mime', isGeneric ? undefined : given.mime),
  });
}

function isWebp(bytes: Buffer): boolean {
  return bytes.toString('latin1', 8, 12) === 'WEBP';
}

function editMessageText(call: Call): Message {
  const { parameters } = call;
  const isRich = parameters.has('rich_message');
  const rich = isRich ? readRich(call, false) : undefined;
  const text: FormattedText =
    rich === undefined
      ? readText(call, 'text', 'entities', 'message text')
      : { text: rich.text, entities: [] };
  if (!isRich && text.text.length > MAX_TEXT) throw badRequest('MESSAGE_TOO_LONG');
  const { state, kept } = findOwn(call);
  if (kept.message.text === undefined && kept.message.rich_message === undefined) {
    throw badRequest('there is no text in the message to edit');
  }
  return change(call, state, kept, { text, ...optional('rich', rich?.message) });
}

function editMessageCaption(call: Call): Message {
  const text = readCaption(call);
  const { state, kept } = findOwn(call);
  if (kept.fileIds.length === 0) throw badRequest('there is no caption in the message to edit');
  return change(call, state, kept, { text, media: {} });
}

/** Changes a message of the bot: its content, if one is given, and its keyboard in any case. */
function change(
  call: Call,
  state: ChatState,
  kept: KeptMessage,
  { text, rich, media }: Partial<Content>,
): Message {
  const { world, parameters } = call;
  const keyboard = readKeyboard(parameters.json('reply_markup'));
  const { message } = kept;
  const next: Message = { ...message };
  delete next.reply_markup;
  if (keyboard !== undefined) next.reply_markup = keyboard;
  if (text !== undefined) {
    for (const field of contentNames) delete next[field];
    Object.assign(next, contentFields(text, rich, media !== undefined));
  }
  if (sameJson(shownPart(message), shownPart(next))) throw badRequest(notModified);
  checkLimits(call, state);
  if (text !== undefined) next.edit_date = world.clock.seconds();
  const last = kept.versions.at(-1);
  const shown = text ?? { text: last?.text ?? '', entities: last?.entities ?? [] };
  kept.message = next;
  kept.versions.push(versionOf(call, shown, keyboard));
  // A message that is edited for ever keeps its beginning and its last states.
  if (kept.versions.length > 1000) kept.versions.splice(1, 1);
  return next;
}

const contentNames = ['text', 'entities', 'rich_message', 'caption', 'caption_entities'] as const;

function shownPart(message: Message): Partial<Message> {
  const { text, entities, rich_message, caption, caption_entities, reply_markup } = message;
  return { text, entities, rich_message, caption, caption_entities, reply_markup };
}

function findOwn({ world, parameters }: Call): { state: ChatState; kept: KeptMessage } {
  const state = findChat(world, parameters.text('chat_id'), 'write');
  const kept = state.messages.get(parameters.integer('message_id') ?? 0);
  if (kept === undefined || kept.deletedAt !== null) throw badRequest('message to edit not found');
  if (!kept.isFromBot) throw badRequest("message can't be edited");
  return { state, kept };
}

function remove({ world }: Call, state: ChatState, kept: KeptMessage): void {
  const isAllowed =
    kept.isFromBot || state.chat.type === 'private' || state.bot === 'administrator';
  if (!isAllowed) throw badRequest("message can't be deleted");
  if (world.clock.now() - kept.at > DELETE_MS && state.bot !== 'administrator') {
    throw badRequest("message can't be deleted for everyone");
  }
  kept.deletedAt = world.clock.now();
}

function showDraft(call: Call, text: FormattedText): true {
  const { world, parameters } = call;
  const state = findChat(world, parameters.text('chat_id'), 'write');
  if (state.chat.type !== 'private') throw badRequest('TEXTDRAFT_PEER_INVALID');
  const threadId = parameters.integer('message_thread_id');
  checkThread(world, state, threadId);
  const draftId = parameters.integer('draft_id') ?? 0;
  if (draftId === 0) throw badRequest('RANDOM_ID_INVALID');
  const version = versionOf(call, text, undefined);
  const shown = shownDraft(world, state.chat.id);
  const known = world.drafts.findLast(
    (draft) => draft.chatId === state.chat.id && draft.draftId === draftId,
  );
  if (known !== undefined && known.stoppedAt !== null) return true;
  if (shown !== undefined && shown.draftId === draftId) {
    shown.versions.push(version);
    if (shown.versions.length > 1000) shown.versions.splice(1, 1);
    shown.canStop = parameters.flag('can_stop');
    shown.keepOnStop = parameters.flag('keep_on_stop');
    return true;
  }
  if (shown !== undefined) shown.replacedAt = world.clock.now();
  world.addDraft({
    chatId: state.chat.id,
    threadId,
    draftId,
    versions: [version],
    canStop: parameters.flag('can_stop'),
    keepOnStop: parameters.flag('keep_on_stop'),
    stoppedAt: null,
    replacedAt: null,
  });
  return true;
}

/** The message that is replied to, as it stands in the answer. */
function readReply({ world, parameters }: Call, state: ChatState): Partial<Message> {
  const value = parameters.json('reply_parameters');
  const given = isObject(value) ? value : {};
  const id = wholeNumber(given['message_id']) ?? parameters.integer('reply_to_message_id');
  if (id === undefined || id === 0) return {};
  if (given['chat_id'] !== undefined) {
    const other = findChat(world, textOf(given['chat_id']), 'read');
    if (other !== state) throw badRequest('replies to another chat are not simulated');
  }
  const target = state.messages.get(id);
  if (target === undefined || target.deletedAt !== null) {
    const isLax =
      given['allow_sending_without_reply'] === true ||
      parameters.flag('allow_sending_without_reply');
    if (isLax) return {};
    throw badRequest('message to be replied not found');
  }
  const { quote } = given;
  if (quote === undefined) return { reply_to_message: replied(target.message) };
  const text = target.message.text ?? target.message.caption ?? '';
  const position = typeof quote === 'string' && quote !== '' ? text.indexOf(quote) : -1;
  if (typeof quote !== 'string' || position < 0) throw badRequest('QUOTE_TEXT_INVALID');
  return {
    reply_to_message: replied(target.message),
    quote: { text: quote, position, is_manual: true },
  };
}

function readText(
  call: Call,
  name: string,
  entitiesName: string,
  emptyName: string | null,
): FormattedText {
  const options = { ...formatOptions(call, entitiesName), emptyName };
  return formatText(call.parameters.text(name), options);
}

function readCaption(call: Call): FormattedText {
  const caption = readText(call, 'caption', 'caption_entities', null);
  if (caption.text.length > MAX_CAPTION) throw badRequest('message caption is too long');
  return caption;
}

function readRich(
  { world, parameters }: Call,
  isDraft: boolean,
): { text: string; message: RichMessage } {
  return readRichMessage(parameters.json('rich_message'), {
    users: (id) => world.users.get(id),
    isDraft,
  });
}

function formatOptions({ world, parameters }: Call, entitiesName = 'entities') {
  return {
    parseMode: parameters.text('parse_mode'),
    entities: parameters.json(entitiesName),
    users: (id: number) => world.users.get(id),
  };
}

function versionOf(
  { world }: Call,
  { text, entities }: { text: string; entities: MessageEntity[] },
  keyboard: InlineKeyboardMarkup | undefined,
): Version {
  return { text, entities, buttons: keyboard?.inline_keyboard ?? [], at: world.clock.now() };
}
