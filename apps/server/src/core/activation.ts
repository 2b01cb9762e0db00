import type { AgentAccess } from './agent-access.ts';

/** Whether what an allowed sender said in a group is for the agent; in direct chats all is. */
export function isActivated(
  activation: AgentAccess['groups']['activation'],
  message: { mentionsBot: boolean; replyToBot: boolean; isCommand: boolean },
): boolean {
  if (activation === 'always') return true;
  return message.mentionsBot || message.replyToBot || message.isCommand;
}
