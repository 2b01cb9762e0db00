import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { answer, BotApi, type CallHook, refusalBody, type HttpAnswer } from './bot-api.ts';
import { runControl } from './control-http.ts';
import { createControl, type TelegramControl } from './control.ts';
import { FaultScript } from './faults.ts';
import { RateLimits, type LimitsMode } from './limits.ts';
import { readParameters } from './parameters.ts';
import { badRequest, Refusal } from './refusal.ts';
import { parseJson } from './values.ts';
import { World } from './world.ts';

export interface TelegramSimulatorOptions {
  /** 0 (default): any free port. */
  port?: number;
  /** The bot's token; default: one that the seed gives. */
  token?: string;
  /** Decides all that is drawn: ids, tokens, faults. Default: 1. */
  seed?: number;
  /** Whether posting too fast is refused. Default: `off`. */
  limits?: LimitsMode;
  /** Default: `simulated_bot`. */
  username?: string;
  /** Privacy mode: in groups the bot sees commands, mentions and replies only. Default: false. */
  privacy?: boolean;
  /** Whether private chats may have topics. Default: false. */
  privateTopics?: boolean;
  /** Called at two moments of each call. */
  onCall?: CallHook;
}

export interface TelegramSimulator extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`: the `apiRoot` of a bot. */
  readonly url: string;
  readonly token: string;
  readonly control: TelegramControl;
  /** Ends every connection. */
  close(): Promise<void>;
}

const MAX_BODY = 60 * 1024 * 1024;

/**
 * Serves a simulated Telegram on 127.0.0.1: the Bot API, files, and the control API. All it
 * knows is in memory.
 * @throws Error `EADDRINUSE` when the port is taken.
 */
export async function startTelegramSimulator(
  options: TelegramSimulatorOptions = {},
): Promise<TelegramSimulator> {
  const { port = 0, token, seed = 1, limits: mode = 'off', username = 'simulated_bot' } = options;
  if (token !== undefined && !tokenForm.test(token)) {
    throw new RangeError('a token looks like 123456789:AAAA…: digits, a colon, 30 letters or more');
  }
  const { privacy = false, privateTopics = false } = options;
  const world = new World({ seed, token, username, privacy, privateTopics });
  const limits = new RateLimits(world.clock, mode);
  const faults = new FaultScript(seed);
  const api = new BotApi(world, faults, limits, options.onCall);
  const control = createControl({ world, faults, limits, calls: () => api.calls });

  const server = createServer((request, response) => {
    // A client that leaves at any moment is an ordinary case here.
    request.on('error', () => {});
    response.on('error', () => {});
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client is gone'));
    });
    serve({ world, api, control }, request, gone.signal)
      .then((result) => send(response, result, gone.signal))
      .catch((error: unknown) => {
        if (gone.signal.aborted) return;
        const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
        process.stderr.write(`telegram simulator: ${reason}\n`);
        response.destroy();
      });
  });
  // Uploads come slowly at times; a poll is silent for as long as it waits.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;

  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(port, '127.0.0.1', () => listening.resolve());
  await listening.promise;
  server.off('error', listening.reject);
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;

  const close = async (): Promise<void> => {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    world.close();
    server.closeAllConnections();
    await closed.promise;
  };
  return {
    url: `http://127.0.0.1:${bound}`,
    token: world.token,
    control,
    close,
    [Symbol.asyncDispose]: close,
  };
}

const tokenForm = /^\d{5,12}:[\w-]{30,60}$/;

interface Parts {
  world: World;
  api: BotApi;
  control: TelegramControl;
}

async function serve(
  parts: Parts,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<HttpAnswer | Download> {
  try {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    const path = decodeURI(url.pathname);
    const control = /^\/control\/([A-Za-z]{1,40})$/.exec(path)?.[1];
    if (control !== undefined) {
      const body = await readBody(request, signal);
      return answer(200, controlAnswer(parts.control, control, request, body));
    }
    const file = /^\/file\/bot([^/]{1,100})\/(.{1,200})$/.exec(path);
    if (file !== null) {
      checkToken(parts.world, file[1] ?? '');
      const stored = parts.world.files.download(file[2] ?? '');
      if (stored === undefined) throw new Refusal(404, 'Not Found');
      return { bytes: stored.bytes };
    }
    const call = /^\/bot([^/]{1,100})\/([A-Za-z]{1,60})\/?$/.exec(path);
    if (call === null) throw new Refusal(404, 'Not Found');
    checkToken(parts.world, call[1] ?? '');
    const body = await readBody(request, signal);
    const type = request.headers['content-type'] ?? '';
    return await parts.api.call(
      call[2] ?? '',
      readParameters(url.searchParams, type, body),
      signal,
    );
  } catch (error) {
    if (error instanceof URIError) return answer(404, refusalBody(new Refusal(404, 'Not Found')));
    if (error instanceof Refusal) return answer(error.code, refusalBody(error));
    throw error;
  }
}

interface Download {
  bytes: Buffer;
}

function checkToken(world: World, token: string): void {
  if (!tokenForm.test(token)) throw new Refusal(404, 'Not Found');
  if (token !== world.token) throw new Refusal(401, 'Unauthorized');
}

/** A page in a browser must not drive this: it names where it comes from, and cannot send JSON unasked. */
function controlAnswer(
  control: TelegramControl,
  name: string,
  request: IncomingMessage,
  body: Buffer,
): string {
  if (request.headers.origin !== undefined) throw new Refusal(403, 'Forbidden: not for browsers');
  let value: unknown = {};
  if (body.length > 0) {
    if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
      throw badRequest('the control API takes application/json');
    }
    value = parseJson(body.toString());
    if (value === undefined) throw badRequest('the body is no JSON');
  }
  try {
    return JSON.stringify({ ok: true, result: runControl(control, name, value) });
  } catch (error) {
    // A clock that should go back, one fault too many.
    if (error instanceof RangeError) throw badRequest(error.message);
    throw error;
  }
}

/** @throws Refusal 413 for a body beyond 60 MB; the signal's reason when the client left in the middle. */
async function readBody(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
  const tooLarge = new Refusal(413, 'Request Entity Too Large');
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) {
    request.resume();
    throw tooLarge;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      const bytes: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      size += bytes.length;
      // What is too much is read to its end, so that the client can read the answer.
      if (size <= MAX_BODY) chunks.push(bytes);
      else chunks.length = 0;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  if (size > MAX_BODY) throw tooLarge;
  return Buffer.concat(chunks);
}

/** Sends an answer, or as much of it as a fault leaves. */
async function send(
  response: ServerResponse,
  result: HttpAnswer | Download,
  signal: AbortSignal,
): Promise<void> {
  if ('bytes' in result) {
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': result.bytes.length,
    });
    response.end(result.bytes);
    return;
  }
  const body = Buffer.from(result.body);
  if (result.cut === 'before') {
    result.done('cut');
    response.socket?.resetAndDestroy();
    return;
  }
  response.writeHead(result.status, {
    'content-type': result.type,
    'content-length': body.length,
  });
  const out = Promise.withResolvers<'out' | 'vanished'>();
  signal.addEventListener('abort', () => out.resolve('vanished'), { once: true });
  if (signal.aborted) out.resolve('vanished');
  if (result.cut === 'body') {
    response.write(body.subarray(0, Math.max(1, Math.floor(body.length / 2))), () =>
      out.resolve('out'),
    );
    await out.promise;
    result.done('cut');
    response.socket?.resetAndDestroy();
    return;
  }
  response.once('finish', () => out.resolve('out'));
  response.end(body);
  result.done((await out.promise) === 'out' ? 'answered' : 'vanished');
}
