import { LineSplitter, type RawLine } from './line-splitter.ts';
import { renderMarkdownLine } from './markdown-line.ts';
import { span, type Span, type Style, type TextLine } from './text-line.ts';

/** Turns streamed text into styled lines. What it makes of a text does not depend on how it was cut. */
export interface LineRenderer {
  /** The lines that this text finished. */
  push(text: string): TextLine[];
  /** The line that is not finished, as it looks so far; null: it is empty. */
  pending(): TextLine | null;
  /** At the end of the text: its last line, if it has one. The renderer is then as new. */
  end(): TextLine[];
}

/** The marker that opened a fenced block, such as three backticks; null: outside of one. */
type Fence = string | null;

/**
 * Renders Markdown line by line, each once and for good: headings, lists, quotes, fences, rules,
 * and within them marked's inline styles. Nothing is ever moved, and only markers are left out.
 */
export class MarkdownRenderer implements LineRenderer {
  readonly #lines = new LineSplitter();
  #fence: Fence = null;
  /** The line whose continuation comes next. */
  #cut: TextLine | null = null;

  push(text: string): TextLine[] {
    return this.#lines.push(text).map((one) => this.#finish(one));
  }

  pending(): TextLine | null {
    return this.#lines.rest === '' ? null : this.#render(this.#lines.rest).line;
  }

  end(): TextLine[] {
    const lines = this.#lines.end().map((one) => this.#finish(one));
    this.#fence = null;
    this.#cut = null;
    return lines;
  }

  #finish({ text, cut }: RawLine): TextLine {
    const { line, fence } = this.#render(text);
    this.#fence = fence;
    this.#cut = cut ? line : null;
    return line;
  }

  #render(text: string): { line: TextLine; fence: Fence } {
    const fence = this.#fence;
    if (this.#cut !== null) return { line: continuation(this.#cut, text), fence };
    if (fence !== null) {
      const closes = closesFence(text, fence);
      return { line: codeLine(text, closes ? 'dim' : 'cyan'), fence: closes ? null : fence };
    }
    const opener = /^ {0,40}(?:(?:[-*+]|\d{1,9}[.)]) {1,4})?(`{3,}|~{3,})([^`]*)$/.exec(text);
    if (opener?.[1] !== undefined) return { line: codeLine(text, 'dim'), fence: opener[1] };
    return { line: renderMarkdownLine(text), fence };
  }
}

/** Renders text as it is, in one style. */
export class PlainRenderer implements LineRenderer {
  readonly #lines = new LineSplitter();
  readonly #styles: readonly Style[];
  readonly #prefix: readonly Span[];

  constructor(styles: readonly Style[], prefix: readonly Span[] = []) {
    this.#styles = styles;
    this.#prefix = prefix;
  }

  push(text: string): TextLine[] {
    return this.#lines.push(text).map((one) => this.#line(one.text));
  }

  pending(): TextLine | null {
    return this.#lines.rest === '' ? null : this.#line(this.#lines.rest);
  }

  end(): TextLine[] {
    return this.#lines.end().map((one) => this.#line(one.text));
  }

  #line(text: string): TextLine {
    const first = [...this.#prefix];
    return { first, rest: first, body: [span(text, ...this.#styles)], wrap: true };
  }
}

function codeLine(text: string, style: Style): TextLine {
  return { first: [], rest: [], body: [span(text, style)], wrap: false };
}

/** What follows of a line that was cut: under it, without a look for new blocks. */
function continuation(of: TextLine, text: string): TextLine {
  if (!of.wrap) return { ...of, body: [span(text, ...(of.body[0]?.styles ?? []))] };
  const { body } = renderMarkdownLine(text, { inlineOnly: true });
  return { ...of, first: of.rest, body };
}

function closesFence(text: string, marker: string): boolean {
  const trimmed = text.trim();
  const char = marker.charAt(0);
  return trimmed.length >= marker.length && trimmed === char.repeat(trimmed.length);
}
