import {
  accessListSchema,
  type AccessList,
  DuragentError,
  gatewayListSchema,
  gatewayLogSchema,
  type GatewayView,
  type OutboxEntry,
  type OutboxPage,
  outboxPageSchema,
  reloadReportSchema,
  type ReloadReport,
} from '@duragent/protocol';
import {
  accept,
  ApiCalls,
  type CallOptions,
  type Reader,
  type ResolveServer,
} from './api-calls.ts';

/** Listings are read to their end, at most this many pages. */
const MAX_PAGES = 1000;

/** What an operator does to a server. What changes something is asked for once: nobody knows what a lost answer said. */
export class OperatorClient {
  readonly #calls: ApiCalls;

  constructor(resolve: ResolveServer) {
    this.#calls = new ApiCalls(resolve);
  }

  async gateways(options: CallOptions): Promise<GatewayView[]> {
    const read: Reader<GatewayView[]> = (body) =>
      gatewayListSchema.safeParse(body).data?.gateways ?? null;
    return await this.#list('/gateways', read, options);
  }

  /** @throws DuragentError not_found */
  async restartGateway(name: string, options: CallOptions): Promise<void> {
    await this.#post(`/gateways/${encodeURIComponent(name)}/restart`, accept, options);
  }

  /** The newest lines, oldest first; all that are kept without `lines`. @throws DuragentError not_found */
  async gatewayLog(
    name: string,
    options: CallOptions & { lines?: number | undefined },
  ): Promise<string[]> {
    const read: Reader<string[]> = (body) => gatewayLogSchema.safeParse(body).data?.lines ?? null;
    const query = options.lines === undefined ? '' : `?lines=${options.lines}`;
    return await this.#get(`/gateways/${encodeURIComponent(name)}/logs${query}`, read, options);
  }

  /** All that is owed or dead, and the sessions that cannot be read. */
  async outbox(
    filter: { session?: string; gateway?: string },
    options: CallOptions,
  ): Promise<Omit<OutboxPage, 'cursor'>> {
    const read: Reader<OutboxPage> = (body) => outboxPageSchema.safeParse(body).data ?? null;
    const deliveries: OutboxEntry[] = [];
    const unreadable: OutboxPage['unreadable'] = [];
    const query = new URLSearchParams({ ...filter, limit: '1000' });
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const part: OutboxPage = await this.#list(`/outbox?${query.toString()}`, read, options);
      deliveries.push(...part.deliveries);
      unreadable.push(...part.unreadable);
      if (part.cursor === null) return { deliveries, unreadable };
      query.set('cursor', part.cursor);
    }
    throw new DuragentError(
      'failed',
      'There are too many deliveries to list. Ask for one --gateway or --session.',
    );
  }

  /** @throws DuragentError not_found, conflict */
  async decideDelivery(what: 'retry' | 'drop', out: string, options: CallOptions): Promise<void> {
    await this.#post(`/outbox/${encodeURIComponent(out)}/${what}`, accept, options);
  }

  async access(options: CallOptions): Promise<AccessList> {
    const read: Reader<AccessList> = (body) => accessListSchema.safeParse(body).data ?? null;
    return await this.#list('/access', read, options);
  }

  /** @returns who was let in. @throws DuragentError not_found */
  async approve(code: string, options: CallOptions): Promise<AccessList['pairings'][number]> {
    const read: Reader<AccessList['pairings'][number]> = (body) =>
      accessListSchema.shape.pairings.element.safeParse(body).data ?? null;
    return await this.#post(`/access/approve/${encodeURIComponent(code)}`, read, options);
  }

  /** @throws DuragentError not_found, agent_not_found */
  async revoke(who: { agent: string; sender: string }, options: CallOptions): Promise<void> {
    const path = `/api/v1/admin/access/${encodeURIComponent(who.agent)}/${encodeURIComponent(who.sender)}`;
    await this.#calls.call({ method: 'DELETE', path }, accept, { ...options, patienceMs: 0 });
  }

  /** @throws DuragentError config_invalid */
  async reload(options: CallOptions): Promise<ReloadReport> {
    const read: Reader<ReloadReport> = (body) => reloadReportSchema.safeParse(body).data ?? null;
    return await this.#post('/reload', read, options);
  }

  /** A listing: it is there wherever there is an Admin API. */
  async #list<T>(path: string, read: Reader<T>, options: CallOptions): Promise<T> {
    try {
      return await this.#get(path, read, options);
    } catch (error) {
      if (!(error instanceof DuragentError) || error.code !== 'not_found') throw error;
      throw new DuragentError('not_found', NO_ADMIN, { cause: error });
    }
  }

  async #get<T>(path: string, read: Reader<T>, options: CallOptions): Promise<T> {
    return await this.#calls.call({ method: 'GET', path: `/api/v1/admin${path}` }, read, options);
  }

  async #post<T>(path: string, read: Reader<T>, options: CallOptions): Promise<T> {
    const request = { method: 'POST', path: `/api/v1/admin${path}`, body: {} } as const;
    return await this.#calls.call(request, read, { ...options, patienceMs: 0 });
  }
}

const NO_ADMIN =
  'This server has no Admin API: admin.enabled is false in its duragent.yaml, or it is of an older version.';
