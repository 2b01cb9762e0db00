import type { InlineKeyboardButton, InlineKeyboardMarkup } from 'grammy/types';
import { checkedLink, userOfLink } from './links.ts';
import { badRequest } from './refusal.ts';
import { isObject, type JsonObject } from './values.ts';

const MAX_BUTTONS = 100;

/**
 * Reads the `reply_markup` of a call.
 * @returns undefined when there is no inline keyboard: keyboards of other kinds are taken and not shown.
 * @throws Refusal for a keyboard that Telegram would not show.
 */
export function readKeyboard(value: unknown): InlineKeyboardMarkup | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) throw badRequest('object expected as reply markup');
  const rows = value['inline_keyboard'];
  if (rows === undefined) return undefined;
  if (!Array.isArray(rows)) {
    throw badRequest(`can't parse inline keyboard: Field "inline_keyboard" must be of type Array`);
  }
  const keyboard = rows.map((row: unknown) => {
    if (!Array.isArray(row)) throw badRequest("can't parse inline keyboard: expected an Array");
    return row.map((button: unknown) => readButton(button));
  });
  const filled = keyboard.filter((row) => row.length > 0);
  if (filled.flat().length > MAX_BUTTONS) throw badRequest('reply markup is too long');
  return filled.length === 0 ? undefined : { inline_keyboard: filled };
}

function readButton(button: unknown): InlineKeyboardButton {
  if (!isObject(button)) throw badRequest("can't parse inline keyboard button: expected an Object");
  const text = stringOf(button, 'text');
  if (text === undefined) {
    throw badRequest(`can't parse inline keyboard button: Field "text" must be of type String`);
  }
  if (text.trim() === '') throw badRequest('inline keyboard button text must be non-empty');
  const style = (['danger', 'success', 'primary'] as const).find((it) => it === button['style']);
  const common = { text, ...(style === undefined ? {} : { style }) };
  const data = stringOf(button, 'callback_data');
  if (data !== undefined) {
    const bytes = Buffer.byteLength(data);
    if (bytes < 1 || bytes > 64) throw badRequest('BUTTON_DATA_INVALID');
    return { ...common, callback_data: data };
  }
  const url = stringOf(button, 'url');
  if (url !== undefined) {
    const checked = userOfLink(url) === undefined ? checkedLink(url) : url;
    if (checked === undefined) {
      throw badRequest(`inline keyboard button URL '${url}' is invalid: Wrong HTTP URL`);
    }
    return { ...common, url: checked };
  }
  const copy = button['copy_text'];
  if (isObject(copy)) {
    const copied = stringOf(copy, 'text') ?? '';
    if (copied === '' || copied.length > 256) throw badRequest('BUTTON_COPY_TEXT_INVALID');
    return { ...common, copy_text: { text: copied } };
  }
  if (isObject(button['disabled'])) return { ...common, disabled: {} };
  throw badRequest(
    "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
  );
}

function stringOf(value: JsonObject, field: string): string | undefined {
  const text = value[field];
  return typeof text === 'string' ? text : undefined;
}
