import { MarkdownRenderer, PlainRenderer, type LineRenderer } from './markdown-renderer.ts';
import type { Screen } from './screen.ts';
import type { Stage, Tone } from './stage.ts';
import { line, span, type Style, type TextLine } from './text-line.ts';

const tones: Readonly<Record<Tone, readonly Style[]>> = {
  quiet: ['dim'],
  warning: ['yellow'],
  error: ['red'],
};

/** Shows a conversation on a terminal. Blocks are set apart by one empty line. */
export class TtyStage implements Stage {
  readonly #screen: Screen;
  #text: LineRenderer | null = null;
  #last: 'note' | 'tool' | 'block' | null = null;
  /** Whether nothing was printed since the text began, or was interrupted: the row above is empty. */
  #fresh = false;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  begin(kind: 'answer' | 'reasoning'): void {
    this.finish();
    this.#apart('block');
    this.#fresh = true;
    this.#text =
      kind === 'answer' ? new MarkdownRenderer() : new PlainRenderer(['dim'], [span('┆ ', 'dim')]);
  }

  text(text: string): void {
    if (this.#text === null) return;
    const lines = this.#text.push(text);
    if (lines.length > 0) this.#fresh = false;
    this.#screen.print(lines);
    this.#screen.setLive(this.#text.pending());
  }

  finish(): void {
    if (this.#text === null) return;
    this.#screen.print(this.#text.end());
    this.#screen.setLive(null);
    this.#text = null;
  }

  said(who: string | null, text: string): void {
    const first =
      who === null ? [span('› ', 'bold', 'cyan')] : [span(`${who}: `, 'bold', 'magenta')];
    const indent = [span('  ')];
    const lines = text.replaceAll('\t', '    ').split('\n');
    this.#add(
      'block',
      lines.map((one, index) => ({
        first: index === 0 ? first : indent,
        rest: indent,
        body: [span(one)],
        wrap: true,
      })),
    );
  }

  tool(text: string, options: { folded?: number; failed?: boolean } = {}): void {
    this.finish();
    const more = options.folded ? span(` (+${String(options.folded)} lines)`, 'dim') : span('');
    const mark = options.failed === true ? span('✗ ', 'red') : span('⚙ ', 'cyan');
    this.#add('tool', [line(mark, span(text, 'dim'), more)]);
  }

  /** The status below says it. */
  progress(): void {}

  note(text: string, tone: Tone): void {
    this.#add(
      'note',
      text.split('\n').map((one) => line(span(one, ...tones[tone]))),
    );
  }

  turnEnd(text: string): void {
    this.finish();
    this.#last = 'block';
    this.#screen.print([line(''), line(span(text, 'dim'))]);
  }

  /** The screen was cleared: nothing is above. */
  cleared(): void {
    this.#last = null;
  }

  /** Prints what stands by itself; amid a text, which goes on below it, with an empty line around. */
  #add(kind: 'note' | 'tool' | 'block', lines: TextLine[]): void {
    if (this.#text === null) {
      this.#apart(kind);
      this.#screen.print(lines);
      return;
    }
    this.#screen.print([...(this.#fresh ? [] : [line('')]), ...lines, line('')]);
    this.#fresh = true;
  }

  #apart(next: 'note' | 'tool' | 'block'): void {
    const before = this.#last;
    this.#last = next;
    const together = before === null || (before === next && next !== 'block');
    if (!together) this.#screen.print([line('')]);
  }
}
