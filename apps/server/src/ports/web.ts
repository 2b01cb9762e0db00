/** Why something could not be had from the web. */
export interface WebFailure {
  ok: false;
  /** `url_invalid` `url_refused` `address_refused` `host_not_found` `unreachable` `timed_out` `aborted` `too_many_redirects` `redirect_refused` `response_invalid` `type_refused` `page_unreadable` `busy` `no_key` `search_failed`. */
  code: string;
  /** What happened and what to do, in sentences, for the model and for people. */
  message: string;
  /** Node's code of what broke the connection, such as `ECONNREFUSED`. */
  reason?: string;
}

/** What a URL answered, whatever its status. */
export interface Fetched {
  ok: true;
  /** Where it was in the end, after redirects. */
  url: string;
  status: number;
  /** The type of the body in lower case, without parameters; empty: it was not named. */
  mime: string;
  /** The character set that the server named, in lower case. */
  charset: string | null;
  /** At most the limit, decompressed. */
  body: Uint8Array;
  /** Whether the body went on after the limit. */
  truncated: boolean;
  redirects: number;
  /** The header `retry-after`; null: there was none. */
  retryAfter: string | null;
}

/** What is posted to a URL. */
export interface Posting {
  /** The type of the body. */
  type: string;
  body: string;
  /** Called when a connection stands, before anything is sent: from then on it may arrive. */
  onConnect: () => void;
}

export interface FetchOptions {
  signal: AbortSignal;
  /** Sent to the origin of the URL only, not to where it redirects. */
  headers?: Readonly<Record<string, string>>;
  /** Only for URLs that the operator wrote: its own origin may be private. Where it redirects may not. */
  allowPrivate?: boolean;
  /** 5 unless told. */
  maxRedirects?: number;
  /**
   * Posts this instead of getting. Then a redirect is an answer and not followed, and the status is
   * all that counts: a body that breaks off or never ends is no failure, and none is returned.
   */
  post?: Posting;
}

/**
 * Asks a URL that may come from anyone, and never reaches a place that is not on the public
 * internet. Ends within 10 s, unless it was made with another limit. Never throws.
 */
export type GuardedFetch = (url: string, options: FetchOptions) => Promise<Fetched | WebFailure>;

/** A page as a model can read it. */
export interface WebPage {
  ok: true;
  url: string;
  status: number;
  mime: string;
  /** Null where the page has none. */
  title: string | null;
  /** Markdown of HTML; other text as it is. */
  text: string;
  /** Whether more was there than is in `text`. */
  truncated: boolean;
  redirects: number;
}

export interface SearchResult {
  title: string;
  url: string;
  /** A few plain words of the page. */
  description: string;
}

export interface SearchResults {
  ok: true;
  results: SearchResult[];
}

/** The web, for reading. */
export interface Web {
  /** Reads one page. Never throws; what it returns is untrusted. */
  fetch(url: string, options: { signal: AbortSignal }): Promise<WebPage | WebFailure>;
  /** Searches. Never throws; what it returns is untrusted. */
  search(query: string, options: { signal: AbortSignal }): Promise<SearchResults | WebFailure>;
}
