import type { BotCommand, Update, WebhookInfo } from 'grammy/types';
import type { Call, Method } from './method.ts';
import { updateTypes } from './update-queue.ts';
import { badRequest } from './refusal.ts';
import { isObject, textOf, wholeNumber } from './values.ts';

const MAX_POLL_SECONDS = 50;

/** How long after a press its query may still be answered. */
const QUERY_MS = 60_000;

/** What a bot asks about itself and its updates. */
export const ownMethods: Record<string, Method> = {
  getMe: ({ world }) => world.bot,
  getUpdates,
  deleteWebhook({ world, parameters }) {
    if (parameters.flag('drop_pending_updates')) world.updates.drop();
    return true;
  },
  getWebhookInfo: ({ world }): WebhookInfo => ({
    url: '',
    has_custom_certificate: false,
    pending_update_count: world.updates.pending,
  }),
  setMyCommands({ world, parameters }) {
    world.commands.set(scopeOf(parameters.json('scope'), parameters), readCommands(parameters));
    return true;
  },
  getMyCommands: ({ world, parameters }) =>
    world.commands.get(scopeOf(parameters.json('scope'), parameters)) ?? [],
  deleteMyCommands({ world, parameters }) {
    world.commands.delete(scopeOf(parameters.json('scope'), parameters));
    return true;
  },
  setMyDescription({ world, parameters }) {
    const description = parameters.text('description');
    if (description.length > 512) throw badRequest('bot description is too long');
    world.descriptions.set(parameters.text('language_code'), description);
    return true;
  },
  getMyDescription: ({ world, parameters }) => ({
    description: world.descriptions.get(parameters.text('language_code')) ?? '',
  }),
  answerCallbackQuery({ world, parameters }) {
    const press = world.presses.get(parameters.text('callback_query_id'));
    const now = world.clock.now();
    if (press === undefined || press.answer !== null || now - press.at > QUERY_MS) {
      throw badRequest('query is too old and response timeout expired or query ID is invalid');
    }
    const text = parameters.text('text');
    if (text.length > 200) throw badRequest('MESSAGE_TOO_LONG');
    press.answer = { text, show_alert: parameters.flag('show_alert'), at: now };
    return true;
  },
  getFile({ world, parameters }) {
    const file = world.files.link(parameters.text('file_id'));
    const { file_id, file_unique_id, size, path } = file;
    return { file_id, file_unique_id, file_size: size, file_path: path };
  },
};

async function getUpdates({ world, parameters, signal, onSent }: Call): Promise<Update[]> {
  const allowed = parameters.json('allowed_updates');
  if (Array.isArray(allowed)) {
    // Names that nobody knows are no reason to refuse; if there is no other, all is as by default.
    world.updates.allow(updateTypes.filter((type) => allowed.includes(type)));
  }
  const between = (name: string, low: number, high: number, otherwise: number): number =>
    Math.min(high, Math.max(low, parameters.integer(name) ?? otherwise));
  const batch = await world.updates.poll({
    offset: parameters.integer('offset') ?? 0,
    limit: between('limit', 1, 100, 100),
    timeoutMs: between('timeout', 0, MAX_POLL_SECONDS, 0) * 1000,
    signal,
  });
  onSent(batch.sent);
  return batch.updates;
}

function scopeOf(scope: unknown, parameters: Call['parameters']): string {
  const language = parameters.text('language_code');
  if (!isObject(scope)) return `default  ${language}`;
  const chat = wholeNumber(scope['chat_id']) ?? '';
  return `${textOf(scope['type']) || 'default'} ${chat} ${language}`;
}

function readCommands(parameters: Call['parameters']): BotCommand[] {
  const value = parameters.json('commands');
  if (!Array.isArray(value)) throw badRequest("can't parse commands: expected an Array");
  if (value.length > 100) throw badRequest('BOT_COMMANDS_TOO_MUCH');
  return value.map((item: unknown) => {
    const { command, description } = isObject(item) ? item : {};
    if (typeof command !== 'string' || !/^\/?[a-z0-9_]{1,32}$/.test(command)) {
      throw badRequest('BOT_COMMAND_INVALID');
    }
    if (typeof description !== 'string' || description === '' || description.length > 256) {
      throw badRequest('BOT_COMMAND_DESCRIPTION_INVALID');
    }
    return { command: command.replace(/^\//, ''), description };
  });
}
