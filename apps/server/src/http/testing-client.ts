import http, { type IncomingHttpHeaders } from 'node:http';
import net from 'node:net';

/** For the tests of this folder: clients that see what a server really sends. */

export const FILE_TOKEN = 'canary-http-file-token-5kq2';

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The parsed body; undefined when it is no JSON. */
  json: Record<string, unknown>;
}

export interface Call {
  method?: string;
  /** A token, or null for none. Default: the file token. */
  token?: string | null;
  headers?: http.OutgoingHttpHeaders;
  /** An object is sent as JSON; text and bytes as they are, without a content type. */
  body?: object | string | Buffer;
}

/** Sends a request on a connection of its own. */
export function call(port: number, path: string, options: Call = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const req = open(port, path, options);
    req.on('error', reject);
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => (text += chunk));
      res.on('error', reject);
      res.on('end', () => {
        const isJson = /json/.test(res.headers['content-type'] ?? '') && text !== '';
        const json = isJson ? (JSON.parse(text) as Reply['json']) : {};
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text, json });
      });
    });
  });
}

function open(port: number, path: string, options: Call): http.ClientRequest {
  const { token = FILE_TOKEN, body } = options;
  const isObject = body !== undefined && typeof body === 'object' && !Buffer.isBuffer(body);
  const data = isObject ? JSON.stringify(body) : body;
  const req = http.request({
    port,
    path,
    agent: false,
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(isObject ? { 'content-type': 'application/json' } : {}),
      ...(data === undefined ? {} : { 'content-length': Buffer.byteLength(data) }),
      ...options.headers,
    },
  });
  req.end(data);
  return req;
}

export interface SseFrame {
  id: string | null;
  event: string;
  data: Record<string, unknown>;
}

export interface SseReader {
  status: number;
  headers: IncomingHttpHeaders;
  frames: SseFrame[];
  /** What came, as it came. */
  text(): string;
  isEnded(): boolean;
  /** Waits for a frame of an event. */
  next(event: string, count?: number): Promise<SseFrame>;
  ended(): Promise<void>;
  leave(): void;
}

/** Opens an event stream and reads it as it comes. */
export async function openSse(port: number, path: string, options: Call = {}): Promise<SseReader> {
  const req = open(port, path, options);
  req.on('error', () => undefined);
  const res = await new Promise<http.IncomingMessage>((resolve, reject) => {
    req.once('response', resolve).once('error', reject);
  });
  let text = '';
  let rest = '';
  let isEnded = false;
  const frames: SseFrame[] = [];
  res.setEncoding('utf8');
  res.on('error', () => undefined);
  res.on('close', () => (isEnded = true));
  res.on('data', (chunk: string) => {
    text += chunk;
    rest += chunk;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const frame = parseFrame(rest.slice(0, end));
      if (frame) frames.push(frame);
      rest = rest.slice(end + 2);
    }
  });
  return {
    status: res.statusCode ?? 0,
    headers: res.headers,
    frames,
    text: () => text,
    isEnded: () => isEnded,
    async next(event, count = 1) {
      const find = (): SseFrame | undefined =>
        frames.filter((frame) => frame.event === event)[count - 1];
      await until(
        () => find() !== undefined,
        () => `no ${event} in ${text.slice(-500)}`,
      );
      return find() as SseFrame;
    },
    ended: () => until(() => isEnded),
    leave: () => void req.destroy(),
  };
}

function parseFrame(block: string): SseFrame | null {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const at = line.indexOf(': ');
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 2));
  }
  const event = fields.get('event');
  if (event === undefined) return null;
  const data = JSON.parse(fields.get('data') ?? 'null') as SseFrame['data'];
  return { id: fields.get('id') ?? null, event, data };
}

/** Writes bytes to the server as they are, and gives what came back until it closed. */
export async function raw(port: number, ...writes: (string | Buffer)[]): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  let text = '';
  let isClosed = false;
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (isClosed = true));
  for (const bytes of writes) socket.write(bytes);
  try {
    await until(
      () => isClosed,
      () => `still open after ${JSON.stringify(text.slice(0, 300))}`,
    );
  } finally {
    socket.destroy();
  }
  return text;
}

/** Waits for a condition; fails after 5 s. */
export async function until(
  condition: () => boolean,
  describe: () => string = () => 'it did not happen',
): Promise<void> {
  const end = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited 5 s: ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
