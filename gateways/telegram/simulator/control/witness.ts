import type { BotCommand, Update, User } from 'grammy/types';
import type { CallRecord } from '../bot-api.ts';
import type { UpdateRecord } from '../update-queue.ts';
import type { World } from '../world.ts';

/** What a person caused, and how far the bot came with it. */
export interface CausedUpdate {
  update_id: number;
  type: string;
  at: number;
  chat_id: number | null;
  message_id: number | null;
  text: string | null;
  /** How often it was in an answer that was made, and in one that went out whole. */
  offered: number;
  returned: number;
  confirmed: boolean;
  confirmed_at: number | null;
  state: UpdateRecord['state'];
}

/** The truth about the bot: who it is, what it called, and what it got. */
export function witness(world: World, calls: () => readonly CallRecord[]) {
  return {
    /** The bot, and what it said about itself. */
    bot(): {
      user: User;
      token: string;
      commands: Record<string, BotCommand[]>;
      is_polling: boolean;
    } {
      const { botUser, token, commands, updates } = world;
      const is_polling = updates.isPolled;
      return { user: botUser, token, commands: Object.fromEntries(commands), is_polling };
    },

    /** What the bot called, oldest first: at most the last 100,000 calls. */
    calls({ method, after = 0 }: { method?: string; after?: number } = {}): CallRecord[] {
      const name = method?.toLowerCase();
      return calls()
        .filter(({ seq }) => seq > after)
        .filter((call) => name === undefined || call.method.toLowerCase() === name)
        .map((call) => structuredClone(call));
    },

    /** Every update that there was, and what became of it. */
    updates({ after = 0, full = false }: { after?: number; full?: boolean } = {}): (CausedUpdate & {
      update?: Update;
    })[] {
      return world.updates.records
        .filter((record) => record.at > after)
        .map((record) => ({
          ...caused(record),
          ...(full ? { update: structuredClone(record.update) } : {}),
        }));
    },

    /** The ids that an offset confirmed: what the platform saw acknowledged. */
    confirmed(): number[] {
      return world.updates.records
        .filter(({ state }) => state === 'confirmed')
        .map(({ update_id }) => update_id);
    },
  };
}

/** What became of an update, without its body. */
export function caused(record: UpdateRecord): CausedUpdate {
  const { update } = record;
  const message =
    update.message ?? update.edited_message ?? update.channel_post ?? update.edited_channel_post;
  return {
    update_id: record.update_id,
    type: record.type,
    at: record.at,
    chat_id: record.chat_id ?? null,
    message_id: record.message_id ?? null,
    text: message?.text ?? message?.caption ?? update.callback_query?.data ?? null,
    offered: record.offered,
    returned: record.returned,
    confirmed: record.state === 'confirmed',
    confirmed_at: record.confirmed_at,
    state: record.state,
  };
}
