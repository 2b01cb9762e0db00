import type { DraftDelta } from '@duragent/protocol';
import type { Stage } from './stage.ts';
import type { TextFilter } from './sanitize.ts';

type TextDelta = Extract<DraftDelta, { type: 'token' | 'reasoning' }>;
/** Which try of which model call a text belongs to. */
type Attempt = Pick<TextDelta, 'turn' | 'step' | 'attempt'>;
type Texts = Record<'text' | 'reasoning', string>;

const kinds = { token: 'text', reasoning: 'reasoning' } as const;

/**
 * The step that is being written. Deltas that repeat what is shown add nothing; another attempt,
 * or a text that contradicts what is shown, begins anew and says so.
 */
export class Draft {
  readonly #stage: Stage;
  readonly #filter: () => TextFilter;
  #attempt: Attempt | null = null;
  /** What was received of the attempt, before the filter. */
  #texts: Texts = { text: '', reasoning: '' };
  #open: { kind: keyof Texts; filter: TextFilter } | null = null;

  constructor(stage: Stage, filter: () => TextFilter) {
    this.#stage = stage;
    this.#filter = filter;
  }

  /** Shows what is new in a delta. */
  add(delta: TextDelta): void {
    this.#enter(delta);
    const kind = kinds[delta.type];
    const shown = this.#texts[kind];
    // A gap: what is missing comes with the text so far, or with the record.
    if (delta.offset > shown.length) return;
    const known = shown.slice(delta.offset);
    if (delta.text.startsWith(known)) this.#show(kind, delta.text.slice(known.length));
    else if (!known.startsWith(delta.text)) {
      this.#restart(delta);
      if (delta.offset === 0) this.#show(kind, delta.text);
    }
  }

  /** The step is recorded: shows what is missing of it, and finishes. */
  settle(attempt: Attempt, texts: Texts): void {
    this.#enter(attempt);
    if (!texts.text.startsWith(this.#texts.text)) this.#restart(attempt);
    if (this.#texts.text === '')
      this.#show('reasoning', missing(texts.reasoning, this.#texts.reasoning));
    this.#show('text', missing(texts.text, this.#texts.text));
    this.drop();
  }

  /** Finishes what is shown; the attempt may go on, or another may follow. */
  pause(): void {
    if (this.#open === null) return;
    this.#stage.text(this.#open.filter.end());
    this.#stage.finish();
    this.#open = null;
  }

  /** Finishes what is shown, for good. */
  drop(): void {
    this.pause();
    this.#attempt = null;
    this.#texts = { text: '', reasoning: '' };
  }

  #enter(attempt: Attempt): void {
    const current = this.#attempt;
    const { turn, step } = attempt;
    if (current !== null && current.turn === turn && current.step === step) {
      if (current.attempt !== attempt.attempt) this.#restart(attempt);
    } else {
      this.drop();
      this.#attempt = { turn, step, attempt: attempt.attempt };
    }
  }

  #restart({ turn, step, attempt }: Attempt): void {
    const hadText = this.#texts.text !== '' || this.#texts.reasoning !== '';
    this.drop();
    this.#attempt = { turn, step, attempt };
    if (hadText) this.#stage.note('↻ answer started again', 'quiet');
  }

  #show(kind: keyof Texts, text: string): void {
    if (text === '') return;
    if (this.#open?.kind !== kind) {
      this.pause();
      this.#open = { kind, filter: this.#filter() };
      this.#stage.begin(kind === 'text' ? 'answer' : 'reasoning');
    }
    this.#texts[kind] += text;
    this.#stage.text(this.#open.filter.push(text));
  }
}

function missing(whole: string, shown: string): string {
  return whole.startsWith(shown) ? whole.slice(shown.length) : '';
}
