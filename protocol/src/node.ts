import type { Readable, Writable } from 'node:stream';
import type { GatewayHandlers } from './node/gateway-handlers.ts';
import { GatewayServer } from './node/gateway-server.ts';

export {
  type AnswerBody,
  GatewayFatalError,
  type GatewayHandlers,
  type GatewayLink,
} from './node/gateway-handlers.ts';
export { JsonLineReader, type LineHandlers } from './node/json-line-reader.ts';

/** Longer than a server takes to stop, in ms. */
const SERVER_STOPS_MS = 10_000;

/**
 * Speaks the protocol on stdin and stdout until stdin ends or `shutdown` comes. Nothing else may
 * write to stdout; stderr is the log. SIGTERM alone ends it after 10 s, a second one at once.
 * @returns the exit code: 0 when it was asked to end, 1 when it could not go on, 143 after SIGTERM.
 */
export async function serveGateway(
  handlers: GatewayHandlers,
  streams: { stdin?: Readable; stdout?: Writable } = {},
): Promise<number> {
  const { stdin = process.stdin, stdout = process.stdout } = streams;
  process.stderr.off('error', ignore);
  process.stderr.on('error', ignore);
  const server = new GatewayServer(handlers, stdin, stdout);
  const letGo = holdSigterm(server);
  try {
    return await server.done;
  } finally {
    letGo();
  }
}

/**
 * A service manager that stops a server may send SIGTERM to all of its processes at once. The server
 * still finishes what it is sending then, and ends its gateways itself.
 * @returns a function that lets SIGTERM end the process again.
 */
function holdSigterm(server: GatewayServer): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onSignal = (): void => {
    // Without this listener it is the end.
    if (server.isEnding) process.kill(process.pid, 'SIGTERM');
    else timer = setTimeout(() => server.terminate(), SERVER_STOPS_MS);
  };
  process.once('SIGTERM', onSignal);
  return () => {
    process.off('SIGTERM', onSignal);
    clearTimeout(timer);
  };
}

/** The log's reader may end first: that is no reason to crash. */
function ignore(): void {}
