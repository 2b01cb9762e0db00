import type { MessageContent } from '@duragent/protocol';
import type { Message, MessageEntity } from 'grammy/types';
import { cut } from './cut.ts';
import { MAX_DOWNLOAD_BYTES, type PendingFile, readFile } from './file.ts';

/** What an update has to know of the bot that got it. */
export interface BotIdentity {
  id: number;
  /** Without the `@`. */
  username: string;
}

/** What a message says, and the file that is part of it; null: it is a service message. */
export function readContent(
  message: Message,
  bot: BotIdentity,
): { content: MessageContent; file: PendingFile | null } | null {
  const text = readText(message, bot);
  const said = text === '' ? {} : { text };
  const file = readFile(message);
  if (file !== null) {
    if (file.size !== undefined && file.size > MAX_DOWNLOAD_BYTES) {
      const reason = `${file.kind}: larger than the 20 MB that Telegram gives to bots`;
      return { content: { ...said, unknown: reason }, file: null };
    }
    return { content: said, file };
  }
  const { location, venue, contact } = message;
  if (location !== undefined) {
    const { latitude, longitude } = location;
    const name = venue === undefined ? '' : [venue.title, venue.address].join(', ');
    const place = { latitude, longitude, ...(name === '' ? {} : { name: cut(name, 500) }) };
    return { content: { ...said, location: place }, file: null };
  }
  if (contact !== undefined) {
    const card = { name: cut(nameOf(contact), 500), phone: cut(contact.phone_number, 100) };
    return { content: { ...said, contact: card }, file: null };
  }
  const unknown = otherKinds.find((kind) => message[kind] !== undefined);
  if (unknown !== undefined) return { content: { ...said, unknown }, file: null };
  return text === '' ? null : { content: said, file: null };
}

/** Whether a message names this bot. */
export function mentions(message: Message, bot: BotIdentity): boolean {
  const text = message.text ?? message.caption ?? '';
  return (message.entities ?? message.caption_entities ?? []).some((entity) => {
    switch (entity.type) {
      case 'mention':
        return entityText(text, entity).toLowerCase() === `@${bot.username.toLowerCase()}`;
      case 'text_mention':
        return entity.user.id === bot.id;
      case 'bot_command':
        return isAddressed(entityText(text, entity), bot);
      default:
        return false;
    }
  });
}

/** First and last name. */
export function nameOf(person: { first_name?: string; last_name?: string }): string {
  return [person.first_name, person.last_name].filter((part) => part !== undefined).join(' ');
}

/** What people send and this gateway cannot read. What is nowhere here is a service message. */
const otherKinds = [
  'poll',
  'dice',
  'game',
  'story',
  'checklist',
  'paid_media',
  'giveaway',
  'invoice',
  'rich_message',
] as const satisfies (keyof Message)[];

/** The text, without this bot's name behind a command: `/new@thisbot` says `/new`. */
function readText(message: Message, bot: BotIdentity): string {
  const text = message.text ?? message.caption;
  if (text === undefined) {
    return message.rich_message === undefined ? '' : blockText(message.rich_message).trim();
  }
  const command = (message.entities ?? message.caption_entities ?? []).find(
    (entity) => entity.type === 'bot_command' && entity.offset === 0,
  );
  if (command === undefined || !isAddressed(entityText(text, command), bot)) return text;
  return text.slice(0, text.indexOf('@')) + text.slice(command.length);
}

/** Whether a command such as `/new@thisbot` names this bot. */
function isAddressed(command: string, bot: BotIdentity): boolean {
  const [, name] = command.split('@');
  return name?.toLowerCase() === bot.username.toLowerCase();
}

function entityText(text: string, entity: MessageEntity): string {
  return text.slice(entity.offset, entity.offset + entity.length);
}

/** The words of a rich message's block, a line for each part. */
function blockText(block: unknown, depth = 0): string {
  if (depth > MAX_RICH_DEPTH || !isRecord(block)) return '';
  const { summary, text, expression, caption, blocks, items, cells } = block;
  const lines = [summary, text, expression, caption].map((part) => inlineText(part));
  for (const children of [blocks, items]) {
    if (Array.isArray(children))
      lines.push(...children.map((child) => blockText(child, depth + 1)));
  }
  if (Array.isArray(cells)) {
    const rows = cells.filter((row) => Array.isArray(row));
    lines.push(...rows.map((row) => row.map((cell) => inlineText(cell)).join(' | ')));
  }
  return lines.filter((line) => line !== '').join('\n');
}

/** Telegram nests up to 16 levels. */
const MAX_RICH_DEPTH = 40;

function inlineText(node: unknown, depth = 0): string {
  if (typeof node === 'string') return node;
  if (depth > MAX_RICH_DEPTH) return '';
  if (Array.isArray(node)) return node.map((piece) => inlineText(piece, depth + 1)).join('');
  return isRecord(node) ? inlineText(node['text'] ?? node['expression'], depth + 1) : '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
