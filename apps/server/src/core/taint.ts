import type { ToolCall } from '@duragent/protocol';
import type { OpenTurn } from './session/state.ts';
import type { WindowEvent } from './session/window.ts';

/**
 * Whether a turn has read what it may not simply trust: messages of people who do not own its
 * agent, files, webhooks, and the results of tools that bring in the words of others.
 */
export function isTainted(
  events: readonly WindowEvent[],
  turn: Pick<OpenTurn, 'turn' | 'trigger' | 'startedSeq'>,
  from: { owners: readonly string[]; isTrusted: (tool: string) => boolean },
): boolean {
  const calls: ToolCall[] = [];
  return events.some((event) => {
    switch (event.type) {
      case 'user_message': {
        const isIn = turn.trigger.includes(event.message_id) || event.seq > turn.startedSeq;
        if (event.handling === 'silent' || (!isIn && event.handling !== 'passive')) return false;
        const { kind, chat, sender } = event.source;
        // What a process printed comes as the word of the agent itself.
        if (
          kind === 'webhook' ||
          kind === 'agent' ||
          event.content.some((part) => part.type === 'file')
        )
          return true;
        return chat !== undefined && !from.owners.includes(`${chat.gateway}:${sender?.id ?? ''}`);
      }
      case 'assistant_message':
        if (event.turn === turn.turn) calls.push(...event.tool_calls);
        return false;
      case 'tool_finished': {
        if (event.turn !== turn.turn || event.outcome === 'denied') return false;
        const name = calls.find((call) => call.call === event.call)?.name;
        return name !== undefined && event.outcome !== 'skipped' && !from.isTrusted(name);
      }
      // It may hold the words of what it stands for.
      case 'history_summarized':
        return event.turn === turn.turn;
      default:
        return false;
    }
  });
}
