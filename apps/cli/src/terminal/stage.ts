/** How a sentence of the program itself is meant. */
export type Tone = 'quiet' | 'warning' | 'error';

/** Where a conversation is shown. Everything it is given has been sanitized. */
export interface Stage {
  /** Text of the agent begins; what was open is finished first. */
  begin(kind: 'answer' | 'reasoning'): void;
  /** More of that text. */
  text(text: string): void;
  /** That text is complete. Does nothing when none is open. */
  finish(): void;
  /** A person's message; `who` is null for the one who looks at this. */
  said(who: string | null, text: string): void;
  /** One line about a tool call. */
  tool(text: string, options?: { folded?: number; failed?: boolean }): void;
  /** How far the turn is: it takes the place of what was said before. */
  progress(text: string): void;
  /** A sentence of the program, of one line or more. */
  note(text: string, tone: Tone): void;
  /** The end of a turn. */
  turnEnd(text: string): void;
}
