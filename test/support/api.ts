import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { Answer, MessageAccepted, Problem, SessionView } from '@duragent/protocol';
import { SseStream } from './sse-stream.ts';

export interface Reply<T = unknown> {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Parsed, where it is JSON. */
  body: T;
}

export interface Call {
  /** Sent as JSON; a string or buffer goes out as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Instead of the file token; null: none. */
  token?: string | null;
}

/** A server's HTTP API as a program would call it: one connection a request, and no cleverness. */
export class Api {
  readonly url: string;
  readonly token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  /** @throws Error when the connection is lost before the whole answer came. */
  async call<T = unknown>(method: string, path: string, call: Call = {}): Promise<Reply<T>> {
    const response = await this.#send(method, path, call);
    let text = '';
    for await (const part of response.setEncoding('utf8')) text += part;
    const isJson = (response.headers['content-type'] ?? '').includes('json');
    const body = (isJson ? JSON.parse(text) : undefined) as T;
    return { status: response.statusCode ?? 0, headers: response.headers, text, body };
  }

  async get<T = unknown>(path: string, call?: Call): Promise<Reply<T>> {
    return await this.call<T>('GET', `/api/v1${path}`, call);
  }

  async post<T = unknown>(path: string, body?: unknown, call?: Call): Promise<Reply<T>> {
    return await this.call<T>('POST', `/api/v1${path}`, { body, ...call });
  }

  /** A refusal. */
  async refused(method: string, path: string, call: Call = {}): Promise<Problem> {
    const { body, status, headers, text } = await this.call<Problem>(method, path, call);
    const type = headers['content-type'];
    if (type !== 'application/problem+json') {
      throw new Error(`${method} ${path} is no problem: ${status} ${type} ${text}`);
    }
    if (body.status !== status || body.type !== `urn:duragent:problem:${body.code}`) {
      throw new Error(`a problem that contradicts itself: ${status} ${text}`);
    }
    return body;
  }

  async createSession(body: object = {}, call?: Call): Promise<SessionView> {
    const reply = await this.post<SessionView>('/sessions', body, call);
    if (reply.status !== 201) throw new Error(`no session: ${reply.status} ${reply.text}`);
    return reply.body;
  }

  async session(id: string): Promise<SessionView> {
    const reply = await this.get<SessionView>(`/sessions/${id}`);
    if (reply.status !== 200) throw new Error(`no session: ${reply.status} ${reply.text}`);
    return reply.body;
  }

  /** Says something, and waits until it is durable. */
  async say(session: string, content: string, key?: string): Promise<MessageAccepted> {
    const headers: Record<string, string> = key === undefined ? {} : { 'Idempotency-Key': key };
    const path = `/sessions/${session}/messages`;
    const reply = await this.post<MessageAccepted>(path, { content }, { headers });
    if (reply.status !== 202) throw new Error(`not accepted: ${reply.status} ${reply.text}`);
    return reply.body;
  }

  /** Says something, and waits for the answer. */
  async ask(session: string, content: string): Promise<Answer> {
    const body = { content, wait: true };
    const reply = await this.post<Answer>(`/sessions/${session}/messages`, body);
    if (reply.status !== 200) throw new Error(`no answer: ${reply.status} ${reply.text}`);
    return reply.body;
  }

  /** The events of a session, from `lastEventId` on. */
  async events(
    session: string,
    options: { lastEventId?: string; query?: string } = {},
  ): Promise<SseStream> {
    const { lastEventId, query = '' } = options;
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (lastEventId !== undefined) headers['Last-Event-ID'] = lastEventId;
    return await this.#stream('GET', `/api/v1/sessions/${session}/events${query}`, { headers });
  }

  /** Says something, and streams the turn that answers it. */
  async stream(session: string, content: string): Promise<SseStream> {
    const path = `/api/v1/sessions/${session}/stream`;
    return await this.#stream('POST', path, { body: { content } });
  }

  async #stream(method: string, path: string, call: Call): Promise<SseStream> {
    const response = await this.#send(method, path, call);
    if (response.statusCode === 200) return new SseStream(response);
    let text = '';
    for await (const part of response.setEncoding('utf8')) text += part;
    throw new Error(`no stream: ${response.statusCode} ${text}`);
  }

  async #send(method: string, path: string, call: Call): Promise<IncomingMessage> {
    const { body, headers = {}, token = this.token } = call;
    const isRaw = typeof body === 'string' || Buffer.isBuffer(body);
    const payload = body === undefined || isRaw ? body : JSON.stringify(body);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const { hostname, port } = new URL(this.url);
    // The path as it is: `new URL` would take its dots away.
    const sent = request({ hostname, port, method, path, agent: false });
    if (token !== null) sent.setHeader('Authorization', `Bearer ${token}`);
    if (payload !== undefined) {
      sent.setHeader('Content-Type', 'application/json');
      sent.setHeader('Content-Length', Buffer.byteLength(payload));
    }
    for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value);
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.end(payload);
    return await promise;
  }
}
