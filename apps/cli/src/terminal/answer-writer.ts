import type { Writable } from 'node:stream';
import type { DraftDelta } from '@duragent/protocol';
import { Sanitizer } from './sanitize.ts';

type Attempt = Pick<Extract<DraftDelta, { type: 'token' }>, 'turn' | 'step' | 'attempt'>;

/**
 * Writes an answer as it comes, for programs that read it. A step that is answered again (a retry,
 * a restart of the server) goes on where it stood as long as it says the same; where it does not,
 * the new text follows on a line of its own.
 */
export class AnswerWriter {
  readonly #out: Writable;
  #filter = new Sanitizer();
  #step = '';
  #attempt = 0;
  /** What was written of this step, and what this attempt has said so far. */
  #written = '';
  #said = '';
  #atLineStart = true;

  constructor(out: Writable) {
    this.#out = out;
  }

  add(delta: Attempt & { offset: number; text: string }): void {
    this.#enter(delta);
    if (delta.offset > this.#said.length) return;
    this.#said = this.#said.slice(0, delta.offset) + delta.text;
    this.#catchUp();
  }

  /** The step is recorded with this text. */
  settle(attempt: Attempt, text: string): void {
    this.#enter(attempt);
    this.#said = text;
    this.#catchUp();
    if (this.#written !== text) this.#startAgain();
    this.end();
  }

  /** Ends the line. */
  end(): void {
    this.#write(this.#filter.end());
    if (!this.#atLineStart) this.#write('\n');
    this.#step = '';
  }

  #enter({ turn, step, attempt }: Attempt): void {
    const key = `${turn} ${String(step)}`;
    if (key !== this.#step) {
      if (this.#step !== '') this.end();
      this.#step = key;
      this.#written = '';
      this.#said = '';
    } else if (attempt !== this.#attempt) {
      this.#said = '';
    }
    this.#attempt = attempt;
  }

  #catchUp(): void {
    if (this.#said.startsWith(this.#written)) {
      this.#write(this.#filter.push(this.#said.slice(this.#written.length)));
      this.#written = this.#said;
    } else if (!this.#written.startsWith(this.#said)) {
      this.#startAgain();
    }
  }

  #startAgain(): void {
    this.#write(this.#filter.end());
    if (!this.#atLineStart) this.#write('\n');
    this.#write(this.#filter.push(this.#said));
    this.#written = this.#said;
  }

  #write(text: string): void {
    if (text === '') return;
    this.#out.write(text);
    this.#atLineStart = text.endsWith('\n');
  }
}
