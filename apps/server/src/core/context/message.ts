import type { AssistantPart, FilePart, GivenContext, ToolCall } from '@duragent/protocol';

/** One message as a model gets it. Every tool call is followed by exactly one result. */
export type ContextMessage =
  | { role: 'user'; text: string; files?: FilePart[] }
  | { role: 'assistant'; content: AssistantPart[]; toolCalls: ToolCall[] }
  | { role: 'tool'; results: { providerCallId: string; name: string; content: string }[] };

/** What a model call is given. */
export interface Context {
  system: string;
  messages: ContextMessage[];
  /** How much of the conversation that is, for the record. */
  given: GivenContext;
}
