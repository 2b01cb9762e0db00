import { type ChatAddress, MAX_DELIVER_TO } from '@duragent/protocol';
import { z } from 'zod';
import { chatNameOf, readChatName } from '../../core/chat-name.ts';
import { isSameChat } from '../../core/session/chat-key.ts';
import { WEBHOOK_GATEWAY } from '../../core/webhooks/notification.ts';
import type { Tool, ToolResult } from '../../ports/tool.ts';
import type { SessionActor } from '../session-actor.ts';

export interface NotifyToolDeps {
  /** The chats that hear what the open turn of a session says. */
  chatsOf: (session: string) => readonly ChatAddress[];
  /** Names of the gateways there are. */
  gateways: () => readonly string[];
  /** Names of the webhooks there are. */
  webhooks: () => readonly string[];
  open: (session: string) => Promise<Pick<SessionActor, 'tell'>>;
}

const MAX_TEXT = 4_000;

const argsSchema = z.strictObject({
  text: z.string().trim().min(1).max(MAX_TEXT).describe('What they are told, in Markdown'),
  chats: z
    .array(z.string().min(1).max(300))
    .min(1)
    .max(MAX_DELIVER_TO)
    .optional()
    .describe(
      'Other chats than those of this session, such as telegram:-100 or telegram:-100:7 for a thread, or webhooks, such as webhook:ops; a person has to allow it',
    ),
});

/** Tells people something beside the answer: in the log, and so in the outbox of each chat, once for each call. */
export function notifyUserTool({ chatsOf, gateways, webhooks, open }: NotifyToolDeps): Tool {
  const { $schema: _, ...parameters } = z.toJSONSchema(argsSchema, { io: 'input' });

  function read(args: Record<string, unknown>): Told | { fault: string } {
    const parsed = argsSchema.safeParse(args);
    if (!parsed.success) return { fault: z.prettifyError(parsed.error) };
    const { text, chats: names } = parsed.data;
    if (!names) return { text, chats: null };
    const chats: ChatAddress[] = [];
    for (const name of new Set(names)) {
      const chat = readChatName(name);
      if (!chat) return { fault: noChat(name) };
      const fault = faultOf(chat);
      if (fault !== null) return { fault };
      chats.push(chat);
    }
    return { text, chats };
  }

  /** Why nothing can be told there; null: it can. */
  function faultOf({ gateway, chat_id, thread_id }: ChatAddress): string | null {
    if (gateway !== WEBHOOK_GATEWAY) {
      return gateways().includes(gateway) ? null : missing('gateway', gateway, gateways());
    }
    const isThere = thread_id === undefined && webhooks().includes(chat_id);
    const name = thread_id === undefined ? chat_id : `${chat_id}:${thread_id}`;
    return isThere ? null : missing('webhook', name, webhooks());
  }

  return {
    name: 'notify_user',
    description:
      'Tells people something beside your answer, at once: that a long work has come to a point, or something they asked to be told. It goes to all chats of this session, or to others and to webhooks that are named. Your answer goes there by itself: do not send it twice.',
    parameters,
    // What was told is in the log under the call's name, and told once.
    effect: 'idempotent',
    onInterrupt: 'retry',
    isTrusted: true,
    plan(args, { session }) {
      const told = read(args);
      if ('fault' in told) return told;
      const { chats, text } = told;
      const own = chatsOf(session);
      const others = (chats ?? []).filter((chat) => !own.some((one) => isSameChat(one, chat)));
      const mustAsk = `it writes to ${namesOf(others)}, which this session is not shown in`;
      return {
        policy: { kind: 'builtin', name: 'notify_user', action: null, args, harmless: true },
        shown: `Tell ${chats ? namesOf(chats) : 'the chats of this session'}:\n${text}`,
        command: null,
        speaksUnasked: true,
        ...(others.length === 0 ? {} : { mustAsk }),
      };
    },
    async run(args, { signal, caller }): Promise<ToolResult> {
      const told = read(args);
      if ('fault' in told) return { outcome: 'error', content: told.fault };
      if (signal.aborted) return { outcome: 'cancelled', content: 'Cancelled.' };
      const { session, turn, call } = caller;
      const to = told.chats ?? chatsOf(session);
      const actor = await open(session);
      await actor.tell({ turn, call, ...told });
      const content =
        to.length === 0
          ? 'No chat shows this session; whoever is attached to it was told.'
          : `Sent to ${namesOf(to)}.`;
      return { outcome: 'ok', content };
    },
  };
}

interface Told {
  text: string;
  /** null: those of the session. */
  chats: ChatAddress[] | null;
}

function namesOf(chats: readonly ChatAddress[]): string {
  return chats.map(chatNameOf).join(', ');
}

function noChat(name: string): string {
  return `${name} is no chat; write <gateway>:<chat>, <gateway>:<chat>:<thread> or webhook:<name>.`;
}

function missing(what: string, name: string, known: readonly string[]): string {
  const there = known.length === 0 ? 'There is none.' : `There are: ${known.join(', ')}.`;
  return `There is no ${what} named ${name.slice(0, 63)}. ${there}`;
}
