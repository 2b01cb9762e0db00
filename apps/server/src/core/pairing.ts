/** A stranger who asked to be let in. */
export interface PairingRequest {
  /** Eight characters of A-Z and 2-9 without I, L, O. */
  code: string;
  /** The agent it is about. */
  agent: string;
  /** `<gateway>:<platform id>`. */
  sender: string;
  /** As they call themselves; shown only. */
  name: string;
  /** Where to tell them. */
  chat: { gateway: string; chat_id: string; thread_id?: string };
  /** ISO instant. */
  expires_at: string;
}

/** Somebody who was let in. */
export interface Pairing {
  agent: string;
  sender: string;
  name: string;
  /** ISO instant. */
  at: string;
  /** Who let them in: `<gateway>:<platform id>`, or `cli`. */
  by: string;
}

/** What people decided about who may speak. */
export interface AccessBook {
  pairings: Pairing[];
  requests: PairingRequest[];
}

/** How long a code is good for. */
const PAIRING_TTL_MS = 3_600_000;
/** Requests that may be open for one agent at a time. */
const MAX_OPEN_PAIRINGS = 3;

const CODE_LENGTH = 8;
/** Nothing that looks like something else when it is read aloud or copied by hand. */
const CODE_LETTERS = 'ABCDEFGHJKMNPQRSTUVWXYZ23456789';
const MAX_TYPED = 64;

/** A new code. `random` gives a whole number from 0 to below `max`, not to be foreseen. */
export function makePairingCode(random: (max: number) => number): string {
  const letters = Array.from({ length: CODE_LENGTH }, () => random(CODE_LETTERS.length));
  return letters.map((index) => CODE_LETTERS.charAt(index)).join('');
}

/** A code as somebody typed it, in any case, with spaces or dashes; null: this is none. */
export function readPairingCode(typed: string): string | null {
  if (typed.length > MAX_TYPED) return null;
  const code = typed.replace(/[\s\p{Pd}]/gu, '').toUpperCase();
  return /^[A-HJKMNP-Z2-9]{8}$/.test(code) ? code : null;
}

/**
 * A sender asks to be let in, with this code unless their earlier one is still good: then that one
 * holds, until it would have ended. `now` is ms since 1970. Never given for somebody who is paired.
 */
export function requestPairing(
  book: AccessBook,
  asked: Omit<PairingRequest, 'expires_at'> & { now: number },
): { book: AccessBook; request: PairingRequest; isNew: boolean } | { refused: 'too_many' } {
  const { now, ...wanted } = asked;
  const requests = openRequests(book, now);
  const about = requests.filter(({ agent }) => agent === wanted.agent);
  const earlier = about.find(({ sender }) => sender === wanted.sender);
  if (earlier !== undefined) return { book: { ...book, requests }, request: earlier, isNew: false };
  if (about.length >= MAX_OPEN_PAIRINGS) return { refused: 'too_many' };
  const request = { ...wanted, expires_at: new Date(now + PAIRING_TTL_MS).toISOString() };
  return { book: { ...book, requests: [...requests, request] }, request, isNew: true };
}

/**
 * Lets in whoever has the code, once. `agent`: only if it is about this one, as an owner speaks for
 * no other agent; null: whichever it is about. `by` is `<gateway>:<platform id>`, or `cli`.
 */
export function approvePairing(
  book: AccessBook,
  approval: { code: string; agent: string | null; by: string; now: number },
): { book: AccessBook; pairing: Pairing; request: PairingRequest } | { refused: 'unknown_code' } {
  const { agent, by, now } = approval;
  const code = readPairingCode(approval.code);
  const requests = openRequests(book, now);
  const meant = requests.filter((request) => {
    return request.code === code && (agent === null || request.agent === agent);
  });
  const [request] = meant;
  // Nobody is let in by a code that two have.
  if (request === undefined || meant.length > 1) return { refused: 'unknown_code' };
  const pairing: Pairing = {
    agent: request.agent,
    sender: request.sender,
    name: request.name,
    at: new Date(now).toISOString(),
    by,
  };
  return {
    book: {
      ...book,
      pairings: [...book.pairings.filter((other) => !isSame(other, pairing)), pairing],
      requests: requests.filter((other) => other !== request),
    },
    pairing,
    request,
  };
}

/** Shuts somebody out again; an open code of theirs is void. @returns whether they were in. */
export function revokePairing(
  book: AccessBook,
  who: { agent: string; sender: string },
): { book: AccessBook; revoked: boolean } {
  const pairings = book.pairings.filter((pairing) => !isSame(pairing, who));
  const requests = book.requests.filter((request) => !isSame(request, who));
  const revoked = pairings.length < book.pairings.length;
  return { book: { ...book, pairings, requests }, revoked };
}

/** Who was let in to an agent, as `<gateway>:<platform id>`. */
export function pairedSenders(book: AccessBook, agent: string): Set<string> {
  const ours = book.pairings.filter((pairing) => pairing.agent === agent);
  return new Set(ours.map(({ sender }) => sender));
}

/** The requests whose codes are still good. An instant that cannot be read is over. */
export function openRequests(book: AccessBook, now: number): PairingRequest[] {
  return book.requests.filter(({ expires_at }) => Date.parse(expires_at) > now);
}

type Who = Pick<Pairing, 'agent' | 'sender'>;

function isSame(one: Who, other: Who): boolean {
  return one.agent === other.agent && one.sender === other.sender;
}
