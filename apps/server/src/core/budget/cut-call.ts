import type { Agent } from '../agent.ts';
import type { SessionState } from '../session/state.ts';
import type { ConversationWindow } from '../session/window.ts';
import { estimateTokens } from '../utf8.ts';

/** A model call that was under way when a log was last left. */
export interface CutCall {
  turn: string;
  step: number;
  attempt: number;
  /** Which of the agent's models was asked. */
  candidate: number;
  /** What was reserved for it, as nearly as the log says. */
  inputTokens: number;
  maxOutputTokens: number;
}

/**
 * The call that recovering a log finds cut: what it used will never be known. null: none was under
 * way. The server may have stopped just before it was made; then it is counted all the same.
 * @param now wall clock, ms since 1970: a try that waits for a later moment has not begun.
 */
export function cutCall(
  { turn, ended }: SessionState,
  window: ConversationWindow,
  agent: Agent,
  now: number,
): CutCall | null {
  if (!turn || ended || turn.phase !== 'model') return null;
  if (turn.paused !== null && turn.paused !== 'drain') return null;
  if (turn.retryAt !== null && Date.parse(turn.retryAt) > now) return null;
  const model = agent.models[turn.candidate];
  if (!model) return null;
  const { step, attempt, candidate } = turn;
  const input = inputOf(window, agent);
  return {
    turn: turn.turn,
    step,
    attempt,
    candidate,
    inputTokens: Math.min(input, model.maxInputTokens ?? input),
    maxOutputTokens: model.maxOutputTokens,
  };
}

/** What the last call was given and said, and all since; of a first call its texts and messages. */
function inputOf({ events, sizes, tokens }: ConversationWindow, agent: Agent): number {
  const last = events.findLastIndex((one) => one.type === 'assistant_message' && one.usage);
  const said = events[last];
  const usage = said?.type === 'assistant_message' ? said.usage : undefined;
  if (usage) {
    const since = sizes.slice(last + 1).reduce((sum, size) => sum + size, 0);
    return usage.input_tokens + usage.output_tokens + since;
  }
  const texts = [agent.soul, agent.systemPrompt, agent.instructions, agent.directives];
  return tokens + texts.reduce((sum, text) => sum + estimateTokens(text), 0);
}
