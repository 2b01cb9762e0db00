import type { EventOf, ToolCall } from '@duragent/protocol';
import type { WindowEvent } from './session/window.ts';

/** Whom and what is simply trusted. */
interface Trust {
  /** `<gateway>:<id>` */
  owners: readonly string[];
  isTrusted: (tool: string) => boolean;
}

/**
 * Whether a model has read what it may not simply trust: messages and answers of people who do not
 * own its agent, files, webhooks, programs, and the results of tools that bring in the words of
 * others. All that the window holds counts, whichever turn it came in: the model may be shown it.
 */
export function isTainted(events: readonly WindowEvent[], trust: Trust): boolean {
  const calls: ToolCall[] = [];
  return events.some((event) => {
    switch (event.type) {
      case 'user_message':
        return event.handling !== 'silent' && isForeign(event, trust);
      case 'question_answered':
        return !isOwn(event.by, trust);
      case 'assistant_message':
        calls.push(...event.tool_calls);
        return false;
      case 'tool_finished': {
        if (event.outcome === 'denied' || event.outcome === 'skipped') return false;
        const name = calls.find((call) => call.call === event.call)?.name;
        return name !== undefined && !trust.isTrusted(name);
      }
      // It may hold the words of what it stands for.
      case 'history_summarized':
        return true;
      default:
        return false;
    }
  });
}

function isForeign({ source, content }: EventOf<'user_message'>, { owners }: Trust): boolean {
  const { kind, chat, sender } = source;
  // What a process printed comes as the word of the agent itself.
  if (kind === 'webhook' || kind === 'agent') return true;
  if (content.some((part) => part.type === 'file')) return true;
  if (chat) return !owners.includes(`${chat.gateway}:${sender?.id ?? ''}`);
  // A program that speaks for somebody else names them.
  return kind === 'http' && sender !== undefined;
}

/** Whether an answer is of the server itself, of who runs it, or of an owner. */
function isOwn(by: string, { owners }: Trust): boolean {
  return by === 'server' || by === 'cli' || by === 'http:file' || owners.includes(by);
}
