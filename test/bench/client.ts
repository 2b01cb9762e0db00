import { Agent, request, type IncomingMessage } from 'node:http';

/** One server as the load sees it. */
export interface Client {
  /** Sends a JSON body and gives the answer when its head has come; an answer that is no 2xx is an error. */
  post(path: string, body: unknown): Promise<IncomingMessage>;
  get(path: string): Promise<IncomingMessage>;
  close(): void;
}

/** A client over connections that are kept alive. */
export function openClient(url: string, token: string | null): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 128 });
  const { hostname, port } = new URL(url);
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` };

  function send(method: string, path: string, body?: string): Promise<IncomingMessage> {
    const answered = Promise.withResolvers<IncomingMessage>();
    const headers =
      body === undefined
        ? authorization
        : {
            ...authorization,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          };
    const asked = request({ hostname, port, agent, method, path, headers }, (response) => {
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) answered.resolve(response);
      else {
        response.resume();
        answered.reject(new Error(`${method} ${path} was answered with ${statusCode}`));
      }
    });
    asked.once('error', answered.reject);
    asked.end(body);
    return answered.promise;
  }

  return {
    post: (path, body) => send('POST', path, JSON.stringify(body)),
    get: (path) => send('GET', path),
    close: () => agent.destroy(),
  };
}

/** A whole body. */
export async function bodyOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

/** Reads a body to its end. @returns its last bytes, and when the first ones that hold `mark` came */
export async function drain(
  response: IncomingMessage,
  mark: string,
): Promise<{ tail: string; markAt: number | null }> {
  let last: Buffer = Buffer.alloc(0);
  let markAt: number | null = null;
  for await (const part of response) {
    const bytes = part as Buffer;
    if (markAt === null && bytes.includes(mark)) markAt = performance.now();
    // Enough of it to hold the frame that has to be the last.
    last = bytes.length >= TAIL ? bytes : Buffer.concat([last, bytes]).subarray(-TAIL);
  }
  return { tail: last.toString(), markAt };
}

const TAIL = 2048;
