import { type AssistantPart, type StoredEvent, type UserPart, visible } from '@duragent/protocol';
import type { Facts } from './facts.ts';

/** Events that may be shown in chats. */
export type Spoken = Extract<
  Facts[number],
  {
    type:
      | 'assistant_message'
      | 'user_message'
      | 'notice'
      | 'approval_requested'
      | 'approval_decided'
      | 'question_asked'
      | 'question_answered'
      | 'tool_finished';
  }
>;

/** Whether an event may be shown in chats. */
export function isSpoken(event: StoredEvent): event is StoredEvent & Spoken {
  return spoken.has(event.type);
}

const spoken: ReadonlySet<string> = new Set([
  'assistant_message',
  'user_message',
  'notice',
  'approval_requested',
  'approval_decided',
  'question_asked',
  'question_answered',
  'tool_finished',
] satisfies Spoken['type'][]);

/** The text that an event's deliveries are cut from. */
export function spokenText(event: Spoken): string {
  switch (event.type) {
    case 'notice':
      return event.text;
    case 'assistant_message':
      return textOf(event.content);
    case 'user_message':
      return mirrorLine(event);
    case 'approval_requested':
      return approvalText(event);
    case 'question_asked':
      return questionText(event);
    // What their cards say is in the parts.
    case 'approval_decided':
    case 'question_answered':
    case 'tool_finished':
      return '';
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

/** What a person decides about: all of it, with nothing hidden in it. */
function approvalText(request: Extract<Spoken, { type: 'approval_requested' }>): string {
  const { tool, shown, command, reason, approval, always } = request;
  const env = Object.entries(command?.env ?? {}).map(([name, value]) => `${name}=${value}`);
  return [
    `🔐 ${visible(tool)} asks for consent:`,
    '',
    // Marked, so that none of its lines looks like one of ours.
    visible(shown).replace(/^/gm, '│ '),
    '',
    ...(command ? [`in ${visible([command.cwd, ...env].join(' '))}`] : []),
    visible(reason),
    ...(always === null ? [] : [`Always stores the rule ${visible(always)}`]),
    `/approve ${approval} or /deny ${approval}`,
  ].join('\n');
}

function questionText(asked: Extract<Spoken, { type: 'question_asked' }>): string {
  const { text, choices = [], question } = asked;
  const how =
    choices.length === 0
      ? 'Write the answer, or'
      : `${choices.map((choice, i) => `${i + 1}. ${visible(choice)}`).join('\n')}\nPress one, or`;
  return `❓ ${visible(text)}\n\n${how}: /answer ${question} …`;
}
