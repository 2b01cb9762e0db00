import { DuragentError, namePattern, type GatewayLimits } from '@duragent/protocol';
import type { Inbox, InboxEntry, InboxStore } from '../../ports/inbox.ts';
import { MAX_UNHANDED } from './inbox-file.ts';
import { encodeEntry, knownLimits } from './record.ts';
import { RememberedKeys } from './remembered-keys.ts';

/** What a memory store keeps of a gateway's inbox: what a file would durably hold. */
export interface MemoryInbox {
  lastN: number;
  mark: number;
  cursor: unknown;
  limits: GatewayLimits | null;
  keys: RememberedKeys;
  /** Entries above the mark, oldest first. */
  unhanded: InboxEntry[];
}

/** Inboxes in memory. Another store over the same `kept` sees what this one left, as after a restart. */
export function memoryInboxStore(kept: Map<string, MemoryInbox> = new Map()): InboxStore {
  const inUse = new Set<string>();
  return {
    async open(gateway, { after = 0 } = {}) {
      if (!namePattern.test(gateway)) {
        throw new DuragentError('invalid_request', `${JSON.stringify(gateway)} is no name.`);
      }
      if (inUse.has(gateway)) {
        throw new DuragentError('conflict', `The inbox of ${gateway} is open: close it first.`);
      }
      inUse.add(gateway);
      const found = kept.get(gateway) ?? { ...emptyInbox(), lastN: after, mark: after };
      kept.set(gateway, found);
      const inbox = new OpenMemoryInbox(gateway, found, () => inUse.delete(gateway));
      return { inbox, unhanded: structuredClone(found.unhanded) };
    },
  };
}

function emptyInbox(): MemoryInbox {
  const keys = new RememberedKeys();
  return { lastN: 0, mark: 0, cursor: null, limits: null, keys, unhanded: [] };
}

class OpenMemoryInbox implements Inbox {
  readonly #gateway: string;
  readonly #kept: MemoryInbox;
  readonly #release: () => void;
  #mark: number;
  #limits: GatewayLimits | null;
  #closed = false;

  constructor(gateway: string, kept: MemoryInbox, release: () => void) {
    this.#gateway = gateway;
    this.#kept = kept;
    this.#release = release;
    this.#mark = kept.mark;
    this.#limits = kept.limits;
  }

  get cursor(): unknown {
    return this.#kept.cursor;
  }

  get limits(): GatewayLimits | null {
    return this.#limits;
  }

  has(key: string): boolean {
    return this.#kept.keys.has(key);
  }

  async append(entry: Omit<InboxEntry, 'n'>): Promise<InboxEntry | null> {
    if (this.#closed) {
      throw new DuragentError(
        'storage_failed',
        `The inbox of ${this.#gateway} is closed: open it again.`,
      );
    }
    if (this.has(entry.key)) return null;
    encodeEntry(entry);
    const kept = this.#kept;
    if (kept.lastN - this.#mark >= MAX_UNHANDED) {
      throw new DuragentError('storage_full', `The inbox of ${this.#gateway} takes no more.`);
    }
    this.#writeLeft();
    kept.lastN += 1;
    kept.keys.add(entry.key, kept.lastN, entry.at, kept.mark);
    if (entry.cursor !== undefined) kept.cursor = structuredClone(entry.cursor);
    kept.unhanded.push(structuredClone({ n: kept.lastN, ...entry }));
    return { n: kept.lastN, ...entry };
  }

  mark(n: number): void {
    if (this.#closed) return;
    if (!Number.isInteger(n) || n < 0 || n > this.#kept.lastN) {
      throw new DuragentError(
        'internal',
        `The inbox of ${this.#gateway} ends at entry ${this.#kept.lastN}; ${n} cannot be marked.`,
      );
    }
    this.#mark = Math.max(this.#mark, n);
  }

  flush(): void {
    if (!this.#closed) this.#writeLeft();
  }

  keepLimits(limits: GatewayLimits): void {
    if (!this.#closed) this.#limits = knownLimits(limits);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#writeLeft();
    this.#closed = true;
    this.#release();
  }

  #writeLeft(): void {
    const kept = this.#kept;
    kept.limits = this.#limits;
    if (this.#mark === kept.mark) return;
    kept.mark = this.#mark;
    kept.unhanded = kept.unhanded.filter(({ n }) => n > kept.mark);
  }
}
