import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import path from 'node:path';
import { DuragentError, type ServerFile } from '@duragent/protocol';
import { z } from 'zod';
import manifest from '../package.json' with { type: 'json' };
import { fileAgentCatalog } from './adapters/agent-catalog/filesystem.ts';
import { systemClock } from './adapters/clock/system.ts';
import { createLanguageModels } from './adapters/language-model/language-models.ts';
import { openLog } from './adapters/log/pino.ts';
import { openRunFiles } from './adapters/run-files/filesystem.ts';
import { openFileSessionStore } from './adapters/session-store/filesystem.ts';
import { lockWorkspace, type WorkspaceLock } from './adapters/workspace-lock/filesystem.ts';
import { readAgentFolder } from './config/agent-folder.ts';
import { type Config, formatFault } from './config/load-config.ts';
import { readYaml } from './config/yaml-file.ts';
import { createApp } from './http/app.ts';
import { listen } from './http/listen.ts';
import { createHttpServer } from './http/server.ts';
import type { ModelRef } from './core/agent.ts';
import type { LanguageModel } from './ports/language-model.ts';
import { EffectRunner } from './runtime/effects.ts';
import { watchUse } from './runtime/lifetime.ts';
import { SessionRegistry } from './runtime/session-registry.ts';
import { Stopping } from './runtime/stopping.ts';

export { readEnvironment } from './config/environment.ts';
export { type Config, type ConfigFlags, loadConfig } from './config/load-config.ts';
export { type AgentValidation, validateAgent } from './config/validate-agent.ts';
export { createWorkspace } from './config/workspace.ts';
export type { FileFault } from './core/agent.ts';

/** Of this program; filled in by the build, in the repository there is no build. */
declare const DURAGENT_COMMIT: string | undefined;
declare const DURAGENT_BUILD_HASH: string | undefined;
export const { version } = manifest;
const commit = typeof DURAGENT_COMMIT === 'undefined' ? 'source' : DURAGENT_COMMIT;
const buildHash = typeof DURAGENT_BUILD_HASH === 'undefined' ? 'source' : DURAGENT_BUILD_HASH;

const EPOCH_CHECK_MS = 5_000;
/** An edit of an agent is live that soon. */
const AGENT_FRESH_MS = 1_000;

export interface ServeOptions {
  /** Stops the server: turns are parked, and it resolves within 8 s. */
  signal: AbortSignal;
  /** Seconds without use after which it stops by itself; null: never. */
  ephemeral?: number | null;
  /** Called once it can be reached. */
  onListening?: (server: ServerFile) => void;
}

/**
 * Runs the server of one workspace until it is stopped. The only place that names adapters.
 * @throws DuragentError locked, port_in_use, epoch_lost, storage_failed, config_invalid.
 */
export async function serve(config: Config, options: ServeOptions): Promise<void> {
  process.umask(0o077);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  // One that was there, from a clone for example, may be open to others.
  await chmod(config.dataDir, 0o700);
  const lock = await lockWorkspace(config.dataDir, config);
  try {
    await serveLocked(config, options, lock);
  } finally {
    await lock.release();
  }
}

async function serveLocked(
  config: Config,
  options: ServeOptions,
  lock: WorkspaceLock,
): Promise<void> {
  const stopping = new Stopping(options.signal);
  const run = await openRunFiles(config.dataDir);
  const log = openLog({
    level: config.logs.level,
    format: config.logs.format,
    file: config.logs.file ? path.join(config.dataDir, 'logs', 'server.log') : null,
    secrets: [run.token, ...config.secrets],
  });
  for (const warning of config.warnings) log.warn(warning);
  const store = await openFileSessionStore({
    dir: config.sessionsPath,
    onSyncFailure: (error) => stopping.fail(error),
  });
  const models = openModels(config);
  const agents = fileAgentCatalog({
    dir: config.agents.path,
    readFolder: readAgentFolder,
    freshMs: AGENT_FRESH_MS,
    cacheSize: config.agents.cacheSize,
  });
  const sessions = new SessionRegistry({
    clock: systemClock,
    epoch: lock.epoch,
    agents,
    store,
    runner: new EffectRunner({
      models,
      tools: new Map(),
      clock: systemClock,
      timezone: config.timezone,
      maxConcurrent: config.models.maxConcurrent,
    }),
    settings: {
      onDisconnect: config.session.onDisconnect,
      outputBufferSize: config.session.outputBufferSize,
      modelRetries: config.models.retries,
    },
    defaultAgent: () => config.defaultAgent,
    log,
  });
  stopping.onFailure = (why) => sessions.abandon(why);
  const startedAt = new Date().toISOString();
  const instance = randomUUID();
  const state = { isReady: false, usedAt: systemClock.monotonic() };
  const app = createApp({
    sessions,
    agents,
    models: { describe: (model) => describe(models, model) },
    auth: {
      fileToken: run.token,
      apiToken: config.apiToken,
      adminToken: config.adminToken,
      adminEnabled: config.adminEnabled,
      cliEnabled: config.cliEnabled,
    },
    hosts: { publicUrl: config.publicUrl, hosts: config.hosts },
    version: {
      version,
      commit,
      build_hash: buildHash,
      started_at: startedAt,
      node: process.versions.node,
    },
    workspace: run.workspace,
    instance,
    ready: () => {
      if (stopping.signal.aborted) return { ready: false, reason: 'stopping' };
      return state.isReady ? { ready: true } : { ready: false, reason: 'starting' };
    },
    limits: config,
    onShutdown: () => stopping.stop(),
    logger: log,
    defaultAgent: () => config.defaultAgent,
    clock: systemClock,
  });
  const http = createHttpServer(app, config);
  http.on('request', () => {
    state.usedAt = systemClock.monotonic();
  });
  let stopWatching = (): void => undefined;
  try {
    const report = await sessions.start();
    const place = { host: config.host, port: config.port, isExplicit: config.portExplicit };
    const address = await listen(
      http,
      config.httpEnabled ? place : { host: '127.0.0.1', port: 0, isExplicit: true },
    );
    const ephemeral = options.ephemeral ?? null;
    const server: ServerFile = {
      pid: process.pid,
      host: hostname(),
      started_at: startedAt,
      url: urlOf(address),
      version,
      workspace: run.workspace,
      instance,
      token_file: run.tokenFile,
      ephemeral,
    };
    await run.publish(server);
    state.isReady = true;
    log.info(
      { url: server.url, config: config.file, epoch: lock.epoch, ...report },
      'server ready',
    );
    if (!isLoopback(address.address)) log.warn(BEYOND_LOOPBACK);
    options.onListening?.(server);
    sessions.resume();
    watchEpoch(lock, stopping, () => {
      run
        .publish(server)
        .catch((error: unknown) => log.warn({ err: error }, 'run/server.json not written'));
    });
    if (ephemeral !== null) {
      stopWatching = watchUse(systemClock, {
        afterMs: ephemeral * 1000,
        isUsed: () => sessions.load.clients > 0 || sessions.load.working > 0,
        lastUse: () => state.usedAt,
        onUnused: () => stopping.stop(),
      });
    }
    await stopping.wait();
    log.info({}, 'server stops');
  } finally {
    state.isReady = false;
    stopping.stop();
    stopWatching();
    // Whoever asks meanwhile is told that it stops.
    try {
      if (!stopping.failure) await sessions.close();
    } finally {
      http.close();
      http.closeAllConnections();
      await run.retract();
    }
  }
  if (stopping.failure) throw stopping.failure;
}

const BEYOND_LOOPBACK =
  'this server listens beyond loopback without TLS: put a proxy with TLS before it and set server.public_url';

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

function urlOf({ address, family, port }: AddressInfo): string {
  const host = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[address];
  return `http://${host ?? (family === 'IPv6' ? `[${address}]` : address)}:${port}`;
}

/** A server whose epoch is no longer in the directory has been replaced: it stops writing. `onOurs`: it has not. */
function watchEpoch(lock: WorkspaceLock, stopping: Stopping, onOurs: () => void): void {
  systemClock.after(EPOCH_CHECK_MS, () => {
    if (stopping.signal.aborted) return;
    lock.verify().then(
      (isOurs) => {
        if (isOurs) {
          if (!stopping.signal.aborted) onOurs();
          watchEpoch(lock, stopping, onOurs);
        } else stopping.fail(new DuragentError('epoch_lost', EPOCH_LOST));
      },
      (error: unknown) =>
        stopping.fail(new DuragentError('epoch_lost', EPOCH_LOST, { cause: error })),
    );
  });
}

const EPOCH_LOST =
  'Another server has taken over this data directory (EPOCH changed); this one stops writing. Run one server for each directory.';

function openModels(config: Config): LanguageModel {
  return createLanguageModels({
    keys: withoutNulls(config.models.keys),
    agentKey: (agent) => config.models.agentKey(agent) ?? undefined,
    ollamaUrl: config.models.ollamaHost,
    readYaml: (text, file) => {
      const reading = readYaml(text, file, z.unknown());
      if (reading.ok) return reading.value;
      throw new DuragentError('config_invalid', reading.faults.map(formatFault).join('\n'));
    },
  });
}

function withoutNulls(keys: Config['models']['keys']): Record<string, string> {
  return Object.fromEntries(Object.entries(keys).filter(([, key]) => key !== null));
}

async function describe(models: LanguageModel, model: ModelRef): Promise<string> {
  const { provider, name } = await models.resolve(model);
  return name === '' ? provider : `${provider}/${name}`;
}
