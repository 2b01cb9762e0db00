import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Order, OrderConfig, Outcome, Reply } from './orders.ts';

const CONNECT_MS = 20_000;

/** Does what it is told, and says what came of it. */
export type ScriptedGateway = (order: Order) => Promise<Outcome>;

/** Where the scripted gateways, which are started by the servers under measurement, get their orders. */
export class ScriptedGateways implements Disposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #expected = new Map<string, PromiseWithResolvers<ScriptedGateway>>();
  #keys = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#greet(socket));
  }

  static async open(): Promise<ScriptedGateways> {
    const server = createServer();
    const listening = Promise.withResolvers<void>();
    server.once('error', listening.reject);
    server.listen(0, '127.0.0.1', () => listening.resolve());
    await listening.promise;
    return new ScriptedGateways(server);
  }

  /** A gateway that will be started with `config`; `connected` resolves when it was. */
  expect(): { config: OrderConfig; connected: Promise<ScriptedGateway> } {
    const key = `gateway-${++this.#keys}`;
    const expected = Promise.withResolvers<ScriptedGateway>();
    this.#expected.set(key, expected);
    const late = setTimeout(() => {
      expected.reject(new Error(`${key} did not connect within ${CONNECT_MS} ms`));
    }, CONNECT_MS);
    expected.promise.then(
      () => clearTimeout(late),
      () => undefined, // heard by whoever waits for it
    );
    const { port } = this.#server.address() as AddressInfo;
    return { config: { port, key }, connected: expected.promise };
  }

  #greet(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    let waiting: PromiseWithResolvers<Outcome> | null = null;
    const gone = (): void => waiting?.reject(new Error('a gateway ended before it was done'));
    socket.on('error', gone);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      gone();
    });
    const order: ScriptedGateway = (what) => {
      waiting = Promise.withResolvers<Outcome>();
      socket.write(`${JSON.stringify(what)}\n`);
      return waiting.promise;
    };
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      const said = JSON.parse(line) as Reply | { key: string };
      if ('key' in said) this.#expected.get(said.key)?.resolve(order);
      else if ('outcome' in said) waiting?.resolve(said.outcome);
      else waiting?.reject(new Error(said.error));
    });
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
