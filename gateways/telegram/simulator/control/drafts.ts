import { shownDraft } from '../methods-chats.ts';
import { badRequest } from '../refusal.ts';
import type { Version, World } from '../world.ts';
import { chatOf } from './look-up.ts';

export interface ShownDraft {
  chat_id: number;
  draft_id: number;
  thread_id: number | null;
  text: string;
  can_stop: boolean;
  is_shown: boolean;
  stopped_at: number | null;
  history: Version[];
}

/** What people see while the bot still writes, and how they stop it. */
export function drafts(world: World) {
  return {
    /** All drafts, oldest first; `is_shown` says which one is seen now. */
    drafts({ chat_id }: { chat_id?: number } = {}): ShownDraft[] {
      return world.drafts
        .filter(({ chatId }) => chat_id === undefined || chatId === chat_id)
        .map((draft) => ({
          chat_id: draft.chatId,
          draft_id: draft.draftId,
          thread_id: draft.threadId ?? null,
          text: draft.versions.at(-1)?.text ?? '',
          can_stop: draft.canStop,
          is_shown: shownDraft(world, draft.chatId) === draft,
          stopped_at: draft.stoppedAt,
          history: structuredClone(draft.versions),
        }));
    },

    /** Presses stop on the draft that a private chat shows. */
    stopDraft({ chat_id }: { chat_id: number }): { draft_id: number; update_id: number | null } {
      const { chat } = chatOf(world, chat_id);
      const draft = shownDraft(world, chat_id);
      if (draft === undefined || chat.type !== 'private')
        throw badRequest('no draft is shown here');
      if (!draft.canStop) throw badRequest('the draft has no stop button: the bot sets can_stop');
      if (draft.stoppedAt !== null) throw badRequest('the draft was stopped already');
      draft.stoppedAt = world.clock.now();
      const { threadId, draftId: draft_id } = draft;
      const thread = threadId === undefined ? {} : { message_thread_id: threadId };
      const update = world.updates.push(
        'stopped_message_generation',
        { chat, ...thread, draft_id },
        { chatId: chat_id },
      );
      return { draft_id, update_id: update?.update_id ?? null };
    },

    /** What the chat shows above the keyboard ("typing"), for five seconds. */
    typing({ chat_id }: { chat_id: number }): { action: string; thread_id: number | null } | null {
      const typing = world.typing.get(chat_id);
      if (typing === undefined || typing.action === 'cancel') return null;
      if (world.clock.now() - typing.at > 5000) return null;
      return { action: typing.action, thread_id: typing.threadId ?? null };
    },
  };
}
