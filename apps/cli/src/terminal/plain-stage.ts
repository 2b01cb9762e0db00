import type { Writable } from 'node:stream';
import type { Stage, Tone } from './stage.ts';

/**
 * Shows a conversation without colours or redrawing: what people and agents say goes to `out`
 * as it comes, what the program says to `notes`.
 */
export class PlainStage implements Stage {
  readonly #out: Writable;
  readonly #notes: Writable;
  readonly #quiet: boolean;
  #kind: 'answer' | 'reasoning' | null = null;
  #atLineStart = true;

  constructor(out: Writable, notes: Writable, options: { quiet: boolean }) {
    this.#out = out;
    this.#notes = notes;
    this.#quiet = options.quiet;
  }

  begin(kind: 'answer' | 'reasoning'): void {
    this.finish();
    this.#kind = kind;
  }

  text(text: string): void {
    if (this.#kind === 'answer' && text !== '') this.#write(text);
  }

  finish(): void {
    this.#kind = null;
    this.#toLineStart();
  }

  said(who: string | null, text: string): void {
    this.#toLineStart();
    this.#write(`${who === null ? '> ' : `${who}: `}${text}\n`);
  }

  tool(text: string): void {
    this.note(text, 'quiet');
  }

  progress(text: string): void {
    this.note(`· ${text}`, 'quiet');
  }

  note(text: string, tone: Tone): void {
    if (!this.#quiet || tone === 'error') this.#notes.write(`${text}\n`);
  }

  turnEnd(): void {
    this.finish();
  }

  #toLineStart(): void {
    if (!this.#atLineStart) this.#write('\n');
  }

  #write(text: string): void {
    this.#out.write(text);
    this.#atLineStart = text.endsWith('\n');
  }
}
