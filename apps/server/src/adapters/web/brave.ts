import { z } from 'zod';
import type { GuardedFetch, SearchResult, SearchResults, WebFailure } from '../../ports/web.ts';
import { decodeText } from './decode-text.ts';
import { failed } from './failure.ts';

const ROOT = 'https://api.search.brave.com';
/** Of the 20 that one call may bring, as many as a model looks at. */
const COUNT = 10;
/** Longest query that the API takes. */
const MAX_QUERY_LENGTH = 400;
const MAX_TITLE_LENGTH = 300;
const MAX_DESCRIPTION_LENGTH = 1_000;

export interface BraveOptions {
  /** Null: there is none, and a search says how to get one. */
  key: string | null;
  /** Where the API is, for tests. */
  root?: string;
}

/** What is read of an answer: https://api-dashboard.search.brave.com/documentation. */
const answerSchema = z.object({
  web: z
    .object({
      results: z.array(
        z.object({ title: z.string(), url: z.string(), description: z.string().default('') }),
      ),
    })
    .nullish(),
});

/** Searches with the Brave Search API. Never throws. */
export async function searchBrave(
  query: string,
  { key, root = ROOT }: BraveOptions,
  guardedFetch: GuardedFetch,
  signal: AbortSignal,
): Promise<SearchResults | WebFailure> {
  if (key === null) {
    return failed(
      'no_key',
      'There is no key for web search. Tell the operator: get one at https://brave.com/search/api/, set it as BRAVE_API_KEY in the environment of the server, and start the server again. Pages whose URL is known can be fetched without it.',
    );
  }
  const url = new URL('/res/v1/web/search', root);
  url.search = new URLSearchParams({
    q: Array.from(query).slice(0, MAX_QUERY_LENGTH).join(''),
    count: String(COUNT),
    result_filter: 'web',
    text_decorations: 'false',
  }).toString();
  const answer = await guardedFetch(url.href, {
    signal,
    headers: { 'x-subscription-token': key, accept: 'application/json' },
    // The operator's API, or a test's.
    allowPrivate: true,
    maxRedirects: 0,
  });
  if (!answer.ok) return { ...answer, message: `The search failed. ${answer.message}` };
  if (answer.status !== 200) return refusal(answer.status);
  const results = readResults(decodeText(answer.body, 'utf-8'));
  if (results !== null) return { ok: true, results };
  return failed('search_failed', 'The search service sent what is no list of results. Try again.');
}

function refusal(status: number): WebFailure {
  switch (status) {
    case 401:
    case 403:
    case 422:
      return failed(
        'search_failed',
        `The search service refused the key or the query (${status}). Try a shorter and simpler query; if that is refused too, tell the operator to check BRAVE_API_KEY.`,
      );
    case 429:
      return failed(
        'search_failed',
        'The search service allows no more searches for now (429). Wait a few seconds before the next; if that is refused too, the quota of the key is used up.',
      );
    default:
      return failed('search_failed', `The search service failed (${status}). Try again later.`);
  }
}

function readResults(text: string): SearchResult[] | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const answer = answerSchema.safeParse(json);
  if (!answer.success) return null;
  return (answer.data.web?.results ?? []).slice(0, COUNT).map((result) => ({
    title: plainText(result.title, MAX_TITLE_LENGTH),
    url: URL.parse(result.url)?.href ?? '',
    description: plainText(result.description, MAX_DESCRIPTION_LENGTH),
  }));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
  '&#x27;': "'",
  '&amp;': '&',
};

/** Titles and descriptions come with entities, and some with tags around the words searched for. */
function plainText(html: string, max: number): string {
  return html
    .slice(0, 2 * max)
    .replace(/<\/?(strong|b|em|i)>/g, '')
    .replace(/&(lt|gt|quot|#39|#x27|amp);/g, (entity) => ENTITIES[entity] ?? entity)
    .replace(/\s+/g, ' ')
    .slice(0, max)
    .trim();
}
