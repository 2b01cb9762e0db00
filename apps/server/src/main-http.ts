import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ReloadReport } from '@duragent/protocol';
import { systemClock } from './adapters/clock/system.ts';
import type { RunFiles } from './adapters/run-files/filesystem.ts';
import type { Config } from './config/load-config.ts';
import { createApp } from './http/app.ts';
import type { HttpDeps } from './http/context.ts';
import { listen } from './http/listen.ts';
import { createHttpServer, limitTimes } from './http/server.ts';
import { describeModel } from './main-models.ts';
import type { Parts } from './main-parts.ts';
import { buildHash, commit, version } from './main-version.ts';

/** What the door shows of the server behind it. */
interface DoorDeps {
  parts: Parts;
  run: RunFiles;
  startedAt: string;
  instance: string;
  log: HttpDeps['logger'];
  ready: HttpDeps['ready'];
  reload: () => Promise<ReloadReport>;
  onShutdown: () => void;
  defaultAgent: () => string | null;
}

/** The server's HTTP door: made closed, and changed by a reload while it is open. */
export class HttpDoor {
  readonly #deps: DoorDeps;
  readonly #server: Server;
  #handle: Parameters<typeof createHttpServer>[0];
  #usedAt = systemClock.monotonic();

  constructor(config: Config, deps: DoorDeps) {
    this.#deps = deps;
    this.#handle = this.#appOf(config);
    this.#server = createHttpServer((req, res) => this.#handle(req, res), config);
    this.#server.on('request', () => {
      this.#usedAt = systemClock.monotonic();
    });
  }

  /** When the last request came, on the monotonic clock. */
  get usedAt(): number {
    return this.#usedAt;
  }

  /** Lets the next requests see this configuration. */
  apply(config: Config): void {
    limitTimes(this.#server, config);
    this.#handle = this.#appOf(config);
  }

  /** Opens it where the configuration says; without HTTP on any port of loopback. @throws DuragentError port_in_use. */
  async open(config: Config): Promise<{ url: string; isLoopback: boolean }> {
    const place = { host: config.host, port: config.port, isExplicit: config.portExplicit };
    const address = await listen(
      this.#server,
      config.httpEnabled ? place : { host: '127.0.0.1', port: 0, isExplicit: true },
    );
    return { url: urlOf(address), isLoopback: isLoopback(address.address) };
  }

  /** Closes it, and every connection. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #appOf(now: Config) {
    const { parts, run, startedAt, instance, log, ...edge } = this.#deps;
    const { storage, models, hub, sessions, consent, schedules, outbox } = parts;
    return createApp({
      ...edge,
      sessions,
      agents: storage.agents,
      gateways: hub,
      outbox,
      consent,
      schedules,
      models: { describe: (model) => describeModel(models, model) },
      auth: {
        fileToken: run.token,
        apiToken: now.apiToken,
        adminToken: now.adminToken,
        adminEnabled: now.adminEnabled,
        cliEnabled: now.cliEnabled,
      },
      hosts: { publicUrl: now.publicUrl, hosts: now.hosts },
      version: {
        version,
        commit,
        build_hash: buildHash,
        started_at: startedAt,
        node: process.versions.node,
      },
      workspace: run.workspace,
      instance,
      limits: now,
      logger: log,
      clock: systemClock,
    }).callback();
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

function urlOf({ address, family, port }: AddressInfo): string {
  const host = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[address];
  return `http://${host ?? (family === 'IPv6' ? `[${address}]` : address)}:${port}`;
}
