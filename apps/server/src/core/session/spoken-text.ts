import type { AssistantPart, UserPart } from '@duragent/protocol';
import type { Facts } from './facts.ts';

/** Events that may be shown in chats. */
export type Spoken = Extract<
  Facts[number],
  { type: 'assistant_message' | 'user_message' | 'notice' }
>;

/** The text that an event's deliveries are cut from. */
export function spokenText(event: Spoken): string {
  switch (event.type) {
    case 'notice':
      return event.text;
    case 'assistant_message':
      return textOf(event.content);
    case 'user_message':
      return mirrorLine(event);
  }
}

/** The text of a message's parts. */
export function textOf(content: readonly (AssistantPart | UserPart)[]): string {
  return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

/** What somebody said elsewhere, as the other chats of the session show it. */
function mirrorLine({ source, content }: Extract<Spoken, { type: 'user_message' }>): string {
  const surface = source.kind === 'cli' ? 'terminal' : (source.chat?.gateway ?? source.kind);
  const files = content
    .map((part) => (part.type === 'file' ? ` [file: ${part.name}]` : ''))
    .join('');
  return `${source.sender?.name ?? 'somebody'} (${surface}): ${textOf(content)}${files}`;
}
