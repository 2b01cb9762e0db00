import { isProbablyReaderable, Readability } from '@mozilla/readability';
import { parseHTML } from 'linkedom';
import Turndown from 'turndown';

/** More make no page that anyone reads, and the parser slow. */
const MAX_TAGS = 50_000;
const MAX_TITLE_LENGTH = 300;

/** What of the DOM is used here; linkedom's own types are those of a browser. */
interface Element {
  readonly tagName: string;
  readonly children: Iterable<Element> & { length: number };
  readonly childNodes: Iterable<unknown>;
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  closest(selector: string): Element | null;
  querySelector(selector: string): Element | null;
  querySelectorAll(selector: string): Iterable<Element> & { length: number };
  append(...nodes: unknown[]): void;
  remove(): void;
}

interface Page {
  document: Element & { documentElement: Element; body: Element; head: Element };
}

/** Nothing of these is text of the page. */
const NO_CONTENT =
  'title, script, style, noscript, template, iframe, object, embed, svg, canvas, video, audio, input, button, select, dialog, [hidden], [aria-hidden="true"]';

/**
 * What a person would read of a page, as Markdown with whole URLs: the article where there is
 * one, else all of it.
 * @throws Error where the page is too large or too deep for that.
 */
export function htmlToMarkdown(
  html: string,
  url: string,
): { title: string | null; markdown: string } {
  if (hasMoreTags(html, MAX_TAGS)) throw new Error(`it has more than ${MAX_TAGS} elements`);
  const page = parse(html, url);
  const title = titleOf(page);
  // It takes the page apart as it goes.
  const article = isProbablyReaderable(page.document) ? articleOf(page) : null;
  const content = article ?? bodyOf(parse(html, url));
  return {
    title,
    markdown: turndown().turndown(content).trim(),
  };
}

function hasMoreTags(html: string, max: number): boolean {
  const tags = /<[a-z]/gi;
  let count = 0;
  while (count <= max && tags.test(html)) count += 1;
  return count > max;
}

function parse(html: string, url: string): Page {
  const hasRoot = /<html[\s>]/i.test(html);
  const whole = hasRoot ? html : `<!doctype html><html><head></head><body>${html}`;
  const page = parseHTML(whole) as unknown as Page;
  const { document } = page;
  adoptStrays(document);
  completeUrls(document, url);
  return page;
}

/** A page may leave out the tags of its head and body; the parser does not put them back. */
function adoptStrays({ documentElement, body, head }: Page['document']): void {
  const strays = [...documentElement.childNodes].filter((node) => node !== body && node !== head);
  if (strays.length > 0) body.append(...strays);
}

/** Makes links and images whole, and drops what leads nowhere: scripts, data, places in the page. */
function completeUrls(document: Element, url: string): void {
  const base = URL.parse(document.querySelector('base[href]')?.getAttribute('href') ?? '', url);
  for (const element of document.querySelectorAll('a[href], img[src]')) {
    const name = element.tagName === 'IMG' ? 'src' : 'href';
    const value = element.getAttribute(name) ?? '';
    const whole = value.startsWith('#') ? null : URL.parse(value, base?.href ?? url);
    if (whole !== null && /^(https?|mailto):$/.test(whole.protocol)) {
      element.setAttribute(name, whole.href);
    } else {
      element.removeAttribute(name);
    }
  }
}

function titleOf({ document }: Page): string | null {
  const text = document.querySelector('title')?.textContent ?? '';
  const title = text.slice(0, 8 * MAX_TITLE_LENGTH).replace(/\s+/g, ' ');
  return title.trim().slice(0, MAX_TITLE_LENGTH) || null;
}

function articleOf({ document }: Page): Element | null {
  const article = new Readability<unknown>(document, {
    // As it is: written out, it would have to be read again.
    serializer: (node: unknown) => node,
  }).parse();
  return (article?.content ?? null) as Element | null;
}

function bodyOf({ document }: Page): Element {
  for (const element of document.querySelectorAll(NO_CONTENT)) element.remove();
  return document.body;
}

function turndown(): Turndown {
  const service = new Turndown({
    headingStyle: 'atx',
    hr: '---',
    bulletListMarker: '-',
    codeBlockStyle: 'fenced',
  });
  service.addRule('image', {
    filter: 'img',
    replacement: (_, node: Element) => imageText(node),
  });
  const tables = new TableFinder();
  service.addRule('cell', {
    filter: (node: Element) => isOneOf(node, 'TD', 'TH') && tables.of(node) !== null,
    // Markdown has no cells of blocks: each is one line.
    replacement: (text) => ` ${text.trim().replace(/\s+/g, ' ').replaceAll('|', '\\|')} |`,
  });
  service.addRule('row', {
    filter: (node: Element) => isOneOf(node, 'TR') && tables.of(node) !== null,
    replacement: (text, node: Element) => rowText(text, node, tables.of(node)),
  });
  service.addRule('table', {
    filter: (node: Element) => isOneOf(node, 'TABLE') && tables.of(node) !== null,
    replacement: (text) => `\n\n${text.trim().replace(/\n{2,}/g, '\n')}\n\n`,
  });
  return service;
}

/** A table of data, by its first row. */
interface DataTable {
  head: Element | null;
}

/** Tells tables of data from those that lay the page out, which stay blocks, one below the other. */
class TableFinder {
  readonly #known = new WeakMap<Element, DataTable | null>();

  /** The table of data that this is, or is a part of. */
  of(node: Element): DataTable | null {
    const table = node.closest('table');
    if (table === null) return null;
    let known = this.#known.get(table);
    if (known === undefined) {
      const isData =
        table.querySelector('table') === null && table.querySelector('td + td, th + th') !== null;
      known = isData ? { head: table.querySelector('tr') } : null;
      this.#known.set(table, known);
    }
    return known;
  }
}

function imageText(image: Element): string {
  const alt = (image.getAttribute('alt') ?? '').replace(/\s+/g, ' ').trim();
  const src = image.getAttribute('src');
  if (alt === '') return '';
  return src === null ? alt : `![${alt.replace(/[[\]]/g, '\\$&')}](${src})`;
}

function isOneOf(node: Element, ...names: string[]): boolean {
  return names.includes(node.tagName);
}

/** A row; below the first of its table, the line that makes it a table. */
function rowText(text: string, row: Element, table: DataTable | null): string {
  if (text.trim() === '') return '';
  const line = `\n|${text}`;
  return table?.head === row ? `${line}\n|${' --- |'.repeat(row.children.length)}` : line;
}
