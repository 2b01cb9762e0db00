import type { Usage } from '@duragent/protocol';

/** Tokens of a call with what they cost in US dollars, by the prices of then; without `usd` that is not known. */
export type PricedUsage = Usage & { usd?: number };

/** Which call of its session it is: a try of a step, or the summary up to a seq. */
export type CallName = { turn: string; step: number; attempt: number } | { summary: number };

/** A model call that ended, and what it is charged with. */
export type SettledCall = CallName & {
  /** ISO instant. */
  at: string;
  session: string;
  agent: string;
  /** `<gateway>:<id>` of the person of a chat that it answers. */
  sender?: string;
  /** `<provider>/<name>`. */
  model: string;
  usage: Usage;
  /** null: the price was not known. */
  usd: number | null;
  /** It was cut, so what it used is not known: it is charged with what was reserved for it. */
  cut?: true;
};

/** A text that no other call has. */
export function keyOf(session: string, call: CallName): string {
  return 'turn' in call
    ? `${session} ${call.turn}/${call.step}/${call.attempt}`
    : `${session} summary/${call.summary}`;
}
