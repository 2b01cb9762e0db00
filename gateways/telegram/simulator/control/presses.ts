import { badRequest } from '../refusal.ts';
import type { World } from '../world.ts';
import { chatOf, messageOf, speakerOf } from './look-up.ts';

export interface PressState {
  callback_query_id: string;
  chat_id: number;
  message_id: number;
  user_id: number;
  data: string;
  update_id: number | null;
  answer: { text: string; show_alert: boolean; at: number } | null;
}

/** Buttons as people press them, and what they are told then. */
export function presses(world: World) {
  return {
    /** Presses a button, found by its data or by its text. */
    press(pressed: {
      chat_id: number;
      message_id: number;
      user_id?: number;
      data?: string;
      text?: string;
    }): { callback_query_id: string; update_id: number | null } {
      const { chat_id, message_id, data, text } = pressed;
      const state = chatOf(world, chat_id);
      const { message } = messageOf(state, message_id);
      const from = speakerOf(world, state, pressed.user_id);
      const buttons = message.reply_markup?.inline_keyboard.flat() ?? [];
      const button = buttons.find(
        (it) =>
          'callback_data' in it &&
          (data === undefined || it.callback_data === data) &&
          (text === undefined || it.text === text),
      );
      if (button === undefined || !('callback_data' in button)) {
        const there = buttons.map((it) => it.text).join(', ') || 'none';
        throw badRequest(`message ${message_id} shows no such button; its buttons: ${there}`);
      }
      const id = String(world.random.between(1e15, 9e15));
      const update = world.updates.push(
        'callback_query',
        {
          id,
          from,
          message: structuredClone(message),
          chat_instance: String(world.random.between(1e15, 9e15)),
          data: button.callback_data,
        },
        { chatId: chat_id, messageId: message_id },
      );
      const updateId = update?.update_id ?? null;
      world.addPress({
        id,
        at: world.clock.now(),
        user: from,
        chatId: chat_id,
        messageId: message_id,
        data: button.callback_data,
        updateId,
        answer: null,
      });
      return { callback_query_id: id, update_id: updateId };
    },

    /** All presses and what the bot answered to them. */
    presses(): PressState[] {
      return [...world.presses.values()].map((press) => ({
        callback_query_id: press.id,
        chat_id: press.chatId,
        message_id: press.messageId,
        user_id: press.user.id,
        data: press.data,
        update_id: press.updateId,
        answer: press.answer,
      }));
    },
  };
}
