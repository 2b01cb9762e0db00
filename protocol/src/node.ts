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

/**
 * Speaks the protocol on stdin and stdout until stdin ends or `shutdown` comes. Nothing else may
 * write to stdout; stderr is the log.
 * @returns the exit code: 0 when it was asked to end, 1 when it could not go on.
 */
export function serveGateway(
  handlers: GatewayHandlers,
  streams: { stdin?: Readable; stdout?: Writable } = {},
): Promise<number> {
  const { stdin = process.stdin, stdout = process.stdout } = streams;
  process.stderr.off('error', ignore);
  process.stderr.on('error', ignore);
  return new GatewayServer(handlers, stdin, stdout).done;
}

/** The log's reader may end first: that is no reason to crash. */
function ignore(): void {}
