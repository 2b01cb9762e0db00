import type { InlineKeyboard } from '@duragent/protocol';
import type { InlineKeyboardMarkup } from 'grammy/types';
import type { TextForm } from '../format.ts';
import type { Calls, Result } from './calls.ts';
import { type Failure, unsent } from './failure.ts';
import { readId, replyTo } from './ids.ts';

/** Where a text is posted. */
export interface Where {
  chat: number;
  thread?: string | undefined;
  replyTo?: string | undefined;
}

/** Shows texts, each in the best of its forms that Telegram takes. */
export class Texts {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** Posts a text in the best form that Telegram takes. */
  post(
    where: Where,
    forms: readonly TextForm[],
    keyboard: InlineKeyboardMarkup | undefined,
    signal: AbortSignal,
  ): Promise<Result<number>> {
    const { api } = this.#calls;
    const common = {
      message_thread_id: readId(where.thread) ?? undefined,
      reply_parameters: replyTo(where.replyTo),
      reply_markup: keyboard,
    };
    return this.#firstTaken(forms, async (form) => {
      const method = form.kind === 'rich' ? 'sendRichMessage' : 'sendMessage';
      const posted = await this.#calls.call<{ message_id: number }>(
        where.chat,
        'send',
        method,
        signal,
        (id, its) =>
          form.kind === 'rich'
            ? api.sendRichMessage({ chat_id: id, rich_message: form.rich, ...common }, its)
            : api.sendMessage({ chat_id: id, ...common, ...textOf(form) }, its),
      );
      return posted.ok ? { ok: true, value: posted.value.message_id } : posted;
    });
  }

  /** Gives a message of ours another text. That it has this text already is success. */
  edit(
    chat: number,
    messageId: number,
    forms: readonly TextForm[],
    keyboard: InlineKeyboardMarkup | undefined,
    signal: AbortSignal,
  ): Promise<Result<number>> {
    const { api } = this.#calls;
    const common = { message_id: messageId, reply_markup: keyboard };
    return this.#firstTaken(forms, async (form) => {
      const edited = await this.#calls.call(chat, 'edit', 'editMessageText', signal, (id, its) =>
        form.kind === 'rich'
          ? api.editMessageText({ chat_id: id, rich_message: form.rich, ...common }, its)
          : api.editMessageText({ chat_id: id, ...common, ...textOf(form) }, its),
      );
      return edited.ok || edited.failure.isUnmodified ? { ok: true, value: messageId } : edited;
    });
  }

  /** A draft is nobody's message yet: it shows for 30 s, and goes when a message comes. */
  async draft(
    where: Where & { draftId: number },
    forms: readonly TextForm[],
    signal: AbortSignal,
  ): Promise<Result<unknown> | 'no drafts'> {
    const { api } = this.#calls;
    const common = {
      message_thread_id: readId(where.thread) ?? undefined,
      draft_id: where.draftId,
      can_stop: true,
    };
    let last: Result<unknown> | 'no drafts' = 'no drafts';
    for (const form of forms) {
      const method = form.kind === 'rich' ? 'sendRichMessageDraft' : 'sendMessageDraft';
      if (this.#calls.isMissing(method)) continue;
      const result = await this.#calls.call(where.chat, 'draft', method, signal, (id, its) =>
        form.kind === 'rich'
          ? api.sendRichMessageDraft({ chat_id: id, rich_message: form.rich, ...common }, its)
          : api.sendMessageDraft({ chat_id: id, ...draftText(form), ...common }, its),
      );
      if (result.ok) return result;
      if (!this.#calls.isMissing(method)) last = result;
      if (!result.failure.mayBeForm) break;
    }
    return last;
  }

  /** Tries one form after the other, while Telegram says that nothing was done for the form's sake. */
  async #firstTaken(
    forms: readonly TextForm[],
    attempt: (form: TextForm) => Promise<Result<number>>,
  ): Promise<Result<number>> {
    let last: Result<number> | null = null;
    for (const form of forms) {
      if (form.kind === 'rich' && this.#calls.isMissing('sendRichMessage')) continue;
      last = await attempt(form);
      if (last.ok || !last.failure.mayBeForm) return last;
    }
    return last ?? { ok: false, failure: emptyText };
  }
}

/** Loaded with the first text: the parser takes memory that an idle gateway does not need. */
export async function readForms(content: string, format: 'markdown' | 'text'): Promise<TextForm[]> {
  const { MAX_TEXT_LENGTH, textForms } = await import('../format.ts');
  const forms = textForms(content, format);
  return forms.filter((form) => form.kind !== 'html' || form.length <= MAX_TEXT_LENGTH);
}

/** Buttons in Telegram's words. */
export function keyboardOf(rows: InlineKeyboard | undefined): InlineKeyboardMarkup | undefined {
  if (rows === undefined) return undefined;
  return {
    inline_keyboard: rows.map((row) =>
      row.map((button) => ({ text: button.text, callback_data: button.data })),
    ),
  };
}

type WrittenForm = Exclude<TextForm, { kind: 'rich' }>;

function textOf(form: WrittenForm) {
  return { ...draftText(form), link_preview_options: { is_disabled: true } };
}

function draftText(form: WrittenForm) {
  return form.kind === 'html'
    ? { text: form.text, parse_mode: 'HTML' as const }
    : { text: form.text, entities: form.entities };
}

const emptyText: Failure = { ...unsent('there is no text to send'), code: 'invalid_request' };
