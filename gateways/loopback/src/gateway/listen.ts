import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';

/** @returns the URL to call. Never another address: this gateway lets anybody speak as anybody. */
export async function listen(server: Server, port: number): Promise<string> {
  server.maxConnections = 256;
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ port, host: '127.0.0.1' }, resolve);
  try {
    await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const message = `port ${port} is taken: end what listens there, or set config.port to 0 for any`;
    throw new Error(message, { cause: error });
  }
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('it listens nowhere');
  return `http://127.0.0.1:${address.port}`;
}

/** Writes where it listens, whole or not at all. */
export function writeUrl(file: string, url: string): void {
  writeFileSync(`${file}.new`, urlText(url), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Takes that away again, unless it is of the run after this one already. */
export function removeUrl(file: string, url: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === urlText(url)) rmSync(file);
}

function urlText(url: string): string {
  return `${JSON.stringify({ url })}\n`;
}
