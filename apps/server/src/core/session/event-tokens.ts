import type { AssistantPart, UserPart } from '@duragent/protocol';
import { estimateTokens } from '../utf8.ts';
import type { WindowEvent } from './window.ts';

/** Estimated tokens of what an event says, at least 1. */
export function eventTokens(event: WindowEvent): number {
  switch (event.type) {
    case 'user_message':
      return event.content.reduce((sum, part) => sum + partTokens(part), 1);
    case 'message_dropped':
    case 'turn_started':
    // Their call and its result say what they say.
    case 'question_asked':
    case 'question_answered':
      return 1;
    case 'assistant_message':
      return (
        event.content.reduce((sum, part) => sum + partTokens(part), 1) +
        (event.tool_calls.length > 0 ? estimateTokens(JSON.stringify(event.tool_calls)) : 0)
      );
    case 'tool_finished':
      return 1 + estimateTokens(event.content);
    case 'history_summarized':
      return 1 + estimateTokens(event.summary);
  }
}

function partTokens(part: AssistantPart | UserPart): number {
  return estimateTokens(part.type === 'file' ? part.name : part.text);
}
