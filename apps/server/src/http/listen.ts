import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DuragentError } from '@duragent/protocol';

/** Ports tried behind a busy one that nobody typed. */
const NEXT_PORTS = 99;

/**
 * Listens. A port that was typed or is strict is tried once; else the next 99 are tried, only
 * while they are busy.
 * @returns the real address. @throws DuragentError `port_in_use`.
 */
export async function listen(
  server: Server,
  place: { host: string; port: number; isExplicit: boolean },
): Promise<AddressInfo> {
  const { host, port, isExplicit } = place;
  const last = isExplicit || port === 0 ? port : Math.min(port + NEXT_PORTS, 65_535);
  for (let tried = port; ; tried += 1) {
    try {
      return await listenOnce(server, host, tried);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EADDRINUSE' && tried < last) continue;
      if (code === 'EADDRINUSE') throw busy(host, port, tried, error);
      throw new DuragentError('config_invalid', cannotListen(host, tried, code), { cause: error });
    }
  }
}

function listenOnce(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: () => void): void => {
      server.off('error', onError);
      server.off('listening', onListening);
      outcome();
    };
    const onError = (error: Error): void => settle(() => reject(error));
    const onListening = (): void => settle(() => resolve(server.address() as AddressInfo));
    server.on('error', onError);
    server.on('listening', onListening);
    server.listen({ host, port });
  });
}

function busy(host: string, port: number, last: number, cause: unknown): DuragentError {
  const which = last === port ? `Port ${port}` : `Every port from ${port} to ${last}`;
  return new DuragentError(
    'port_in_use',
    `${which} on ${host} is in use by another program. Choose another with --port, or stop that program.`,
    { cause, details: { host, port } },
  );
}

function cannotListen(host: string, port: number, code: string | undefined): string {
  if (code === 'EACCES') return `Port ${port} is not allowed to this user; choose one above 1023.`;
  return `Cannot listen on ${host}:${port} (${code ?? 'unknown error'}); check server.host.`;
}
