import type { Fetched, GuardedFetch, Web, WebFailure, WebPage } from '../../ports/web.ts';
import { type BraveOptions, searchBrave } from './brave.ts';
import { decodeText } from './decode-text.ts';
import { failed } from './failure.ts';
import { HtmlReader } from './html-reader.ts';

/** About 25,000 tokens. */
const MAX_TEXT_LENGTH = 100_000;

const HTML: ReadonlySet<string> = new Set(['text/html', 'application/xhtml+xml']);

/** Text by another name than `text/…`, `…+json` or `…+xml`. */
const TEXT: ReadonlySet<string> = new Set([
  'application/json',
  'application/x-ndjson',
  'application/jsonl',
  'application/xml',
  'application/javascript',
  'application/ecmascript',
  'application/yaml',
  'application/x-yaml',
  'application/toml',
  'application/x-sh',
  'application/sql',
  'application/graphql',
]);

export interface InternetOptions {
  guardedFetch: GuardedFetch;
  brave: BraveOptions;
  reader?: HtmlReader;
}

/** The public internet, by way of the guarded fetch and the Brave Search API. */
export function internet({ guardedFetch, brave, reader = new HtmlReader() }: InternetOptions): Web {
  return {
    async fetch(url, { signal }) {
      const fetched = await guardedFetch(url, { signal });
      return fetched.ok ? await readPage(fetched, reader, signal) : fetched;
    },
    search: (query, { signal }) => searchBrave(query, brave, guardedFetch, signal),
  };
}

async function readPage(
  fetched: Fetched,
  reader: HtmlReader,
  signal: AbortSignal,
): Promise<WebPage | WebFailure> {
  const { url, status, mime, charset, body, redirects } = fetched;
  const page = { ok: true as const, url, status, mime, redirects };
  if (HTML.has(mime)) {
    const task = { html: decodeText(body, charset), url, maxLength: MAX_TEXT_LENGTH };
    const answer = await reader.read(task, signal);
    if (!answer.ok) {
      const message = `The page cannot be shown as text: ${answer.reason}. Try another page.`;
      return failed(signal.aborted ? 'aborted' : 'page_unreadable', message);
    }
    const { title, text, truncated } = answer;
    return { ...page, title, text, truncated: truncated || fetched.truncated };
  }
  if (body.length === 0) return { ...page, title: null, text: '', truncated: false };
  if (!isText(mime)) return refuse(fetched);
  const text = decodeText(body, charset ?? 'utf-8');
  return {
    ...page,
    title: null,
    text: text.slice(0, MAX_TEXT_LENGTH).toWellFormed(),
    truncated: fetched.truncated || text.length > MAX_TEXT_LENGTH,
  };
}

function isText(mime: string): boolean {
  return mime.startsWith('text/') || /\+(json|xml|yaml)$/.test(mime) || TEXT.has(mime);
}

function refuse({ mime, body, truncated, status }: Fetched): WebFailure {
  const type = mime === '' ? 'of no named type' : mime;
  const size = truncated ? `more than ${body.length} bytes` : `${body.length} bytes`;
  return failed(
    'type_refused',
    `The URL answered ${status} with ${size}, ${type}: only HTML, text, JSON and XML can be read. Look for a page in one of these.`,
  );
}
