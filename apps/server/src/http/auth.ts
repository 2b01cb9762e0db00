import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { DuragentError } from '@duragent/protocol';
import type { Clock } from '../ports/clock.ts';
import { onlyHeader } from './only-header.ts';

/** What a caller may do: GET; sessions, messages, answers and cancel; approvals; DELETE and `/admin/*`. */
export type Scope = 'read' | 'chat' | 'approve' | 'admin';

/** Whose token a request came with. */
export interface Caller {
  name: 'file' | 'api' | 'admin';
  scopes: ReadonlySet<Scope>;
}

export interface AuthSettings {
  /** The owner's token, in `auth/token`: every scope. */
  fileToken: string;
  /** `read` and `chat`. */
  apiToken?: string | null | undefined;
  /** `admin`. */
  adminToken?: string | null | undefined;
  /** false: the file token is refused with `cli_disabled`. */
  cliEnabled: boolean;
}

const WINDOW_MS = 60_000;
const MAX_FAILURES = 60;
const MAX_FAILURES_PER_ADDRESS = 10;
const BEARER = /^Bearer +([\x21-\x7e]{1,4096})$/i;

/** Checks bearer tokens, in the same time whatever they are, and slows down those who guess. */
export class Authenticator {
  readonly #tokens: { caller: Caller; digest: Buffer }[];
  readonly #cliEnabled: boolean;
  readonly #failures: FailureLimit;

  constructor(settings: AuthSettings, clock: Clock) {
    const { fileToken, apiToken, adminToken } = settings;
    this.#tokens = [token('file', fileToken, ['read', 'chat', 'approve', 'admin'])];
    if (apiToken) this.#tokens.push(token('api', apiToken, ['read', 'chat']));
    if (adminToken) this.#tokens.push(token('admin', adminToken, ['admin']));
    this.#cliEnabled = settings.cliEnabled;
    this.#failures = new FailureLimit(clock);
  }

  /**
   * Whose token it is. Only the one `Authorization` header counts, never the URL or a cookie.
   * @throws DuragentError unauthorized, cli_disabled, or too_many_requests after too many wrong
   *   tokens; a right one is never refused for them.
   */
  authenticate(req: IncomingMessage): Caller {
    if (req.headers.authorization === undefined) {
      throw new DuragentError(
        'unauthorized',
        'A token is needed: send "Authorization: Bearer <token>". The owner’s is in auth/token of the data directory.',
      );
    }
    const presented = BEARER.exec(onlyHeader(req.rawHeaders, 'authorization') ?? '')?.[1];
    const caller = presented === undefined ? null : this.#find(presented);
    if (caller === null) {
      this.#failures.count(req.socket.remoteAddress ?? '');
      throw new DuragentError(
        'unauthorized',
        'This token is not known. The owner’s is in auth/token of the data directory; it is sent as "Authorization: Bearer <token>", once.',
      );
    }
    if (caller.name === 'file' && !this.#cliEnabled) {
      throw new DuragentError(
        'cli_disabled',
        'The command line is disabled here: gateways.cli.enabled is false.',
      );
    }
    return caller;
  }

  /** Compares with every token, so that the time says nothing of which one was near. */
  #find(presented: string): Caller | null {
    const digest = digestOf(presented);
    let found: Caller | null = null;
    for (const { caller, digest: known } of this.#tokens) {
      if (!timingSafeEqual(digest, known)) continue;
      // One word used for two tokens grants what both do.
      found = found
        ? { name: found.name, scopes: new Set([...found.scopes, ...caller.scopes]) }
        : caller;
    }
    return found;
  }
}

/** @throws DuragentError forbidden, naming the scope that the caller's token lacks. */
export function requireScope(caller: Caller | null, scope: Scope): void {
  if (caller?.scopes.has(scope)) return;
  throw new DuragentError('forbidden', `This token lacks the scope "${scope}".`, {
    details: { scope },
  });
}

function token(
  name: Caller['name'],
  text: string,
  scopes: Scope[],
): { caller: Caller; digest: Buffer } {
  return { caller: { name, scopes: new Set(scopes) }, digest: digestOf(text) };
}

function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** Failures within a minute, over all and by address; it never holds more addresses than failures. */
class FailureLimit {
  readonly #clock: Clock;
  readonly #byAddress = new Map<string, number>();
  #startedAt = -Infinity;
  #total = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws DuragentError too_many_requests when this failure is one too many. */
  count(address: string): void {
    const now = this.#clock.monotonic();
    if (now - this.#startedAt >= WINDOW_MS) {
      this.#startedAt = now;
      this.#total = 0;
      this.#byAddress.clear();
    }
    const failures = this.#byAddress.get(address) ?? 0;
    if (this.#total >= MAX_FAILURES || failures >= MAX_FAILURES_PER_ADDRESS) {
      const seconds = Math.ceil((this.#startedAt + WINDOW_MS - now) / 1000);
      throw new DuragentError(
        'too_many_requests',
        `Too many wrong tokens; try again in ${seconds} s with the right one.`,
        { details: { retry_after: seconds } },
      );
    }
    this.#total += 1;
    this.#byAddress.set(address, failures + 1);
  }
}
