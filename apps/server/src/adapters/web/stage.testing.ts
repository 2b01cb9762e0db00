import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { addressFault } from '../../core/net/public-address.ts';
import { hostFault, urlFault } from '../../core/net/public-url.ts';
import type { FetchRules, FetchSurroundings } from './guarded-fetch.ts';

/** An address of the public internet, where the test's public server stands. */
export const PUBLIC = '93.184.216.34';

/** The rules of the product, unchanged. */
export const rules: FetchRules = { addressFault, hostFault, urlFault };

/**
 * The internet of a test. Connections to `PUBLIC`, and to nothing else, go to the public server;
 * any other, wherever it should lead, ends at the canary: so the canary hears of every address that
 * a guard lets through, also of those that do not exist on this machine.
 */
export interface Stage extends AsyncDisposable {
  /** The public server's answers; 404 until it is set. */
  answer: http.RequestListener;
  /** What the public server was asked: methods, URLs and headers. */
  readonly requests: http.IncomingMessage[];
  /** How many connections reached the canary. */
  readonly caught: number;
  readonly publicPort: number;
  readonly canaryPort: number;
  /** What names mean; those that are not here mean loopback. */
  readonly names: Map<string, readonly string[]>;
  readonly surroundings: FetchSurroundings;
}

export async function openStage(): Promise<Stage> {
  const sockets = new Set<net.Socket>();
  const keep = (socket: net.Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
  };
  const requests: http.IncomingMessage[] = [];
  const publicServer = http.createServer((request, response) => {
    requests.push(request);
    stage.answer(request, response);
  });
  publicServer.on('connection', keep);
  let caught = 0;
  // On every address of this machine, of both families.
  const canary = net.createServer((socket) => {
    caught += 1;
    keep(socket);
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncaught');
  });
  publicServer.listen(0, '127.0.0.1');
  canary.listen(0);
  await Promise.all([once(publicServer, 'listening'), once(canary, 'listening')]);
  const publicPort = portOf(publicServer);
  const canaryPort = portOf(canary);
  const names = new Map<string, readonly string[]>();
  const stage: Stage = {
    answer: (_, response) => response.writeHead(404).end(),
    requests,
    get caught() {
      return caught;
    },
    publicPort,
    canaryPort,
    names,
    surroundings: {
      resolve: (name) =>
        Promise.resolve(
          (names.get(name) ?? ['127.0.0.1']).map((address) => ({
            address,
            family: address.includes(':') ? 6 : 4,
          })),
        ),
      connect({ addresses }) {
        const isPublic = addresses.every(({ address }) => address === PUBLIC);
        return net.connect(isPublic ? publicPort : canaryPort, '127.0.0.1');
      },
      ownAddresses: () => [],
      timeoutMs: 10_000,
      userAgent: 'Duragent test',
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([publicServer, canary].map((server) => closed(server)));
    },
  };
  return stage;
}

function portOf(server: net.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function closed(server: net.Server): Promise<void> {
  server.close();
  if (server.listening) await once(server, 'close');
}
