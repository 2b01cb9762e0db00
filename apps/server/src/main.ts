import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { DuragentError, type ServerFile } from '@duragent/protocol';
import { systemClock } from './adapters/clock/system.ts';
import { openLog } from './adapters/log/pino.ts';
import { openRunFiles } from './adapters/run-files/filesystem.ts';
import { lockWorkspace, type WorkspaceLock } from './adapters/workspace-lock/filesystem.ts';
import { compareConfigs } from './config/compare-config.ts';
import type { Config } from './config/load-config.ts';
import { routingOf, warnOfWritableGateways } from './main-gateways.ts';
import { HttpDoor } from './main-http.ts';
import { closeTools } from './main-lazy-tools.ts';
import { LiveSettings } from './main-live-settings.ts';
import { openParts } from './main-parts.ts';
import { ReloadRequests } from './main-reload.ts';
import { version } from './main-version.ts';
import { watchConfig, watchEpoch, watchHeap, watchNeed } from './main-watches.ts';
import { Reloading } from './runtime/reloading.ts';
import { Stopping } from './runtime/stopping.ts';

export { readEnvironment } from './config/environment.ts';
export { type Config, type ConfigFlags, loadConfig } from './config/load-config.ts';
export { exportMemory } from './main-memory.ts';
export { version } from './main-version.ts';
export { type AgentValidation, validateAgent } from './config/validate-agent.ts';
export { createWorkspace } from './config/workspace.ts';
export type { FileFault } from './core/agent.ts';

const NO_RELOAD =
  'This server was started without a way to read its configuration again; restart it.';
const BEYOND_LOOPBACK =
  'this server listens beyond loopback without TLS: put a proxy with TLS before it and set server.public_url';

export interface ServeOptions {
  /** Stops the server: turns are parked, and it resolves within 8 s. */
  signal: AbortSignal;
  /** Seconds without use after which it stops by itself; null: never. */
  ephemeral?: number | null;
  /** Reads the configuration anew, for SIGHUP and the Admin API; without it, it stays as it is. */
  reload?: () => Promise<Config>;
  /** Called once it can be reached. */
  onListening?: (server: ServerFile) => void;
}

/**
 * Runs the server of one workspace until it is stopped. Only this file and those named `main-*`
 * name adapters. @throws DuragentError locked, port_in_use, epoch_lost, storage_failed, config_invalid.
 */
export async function serve(config: Config, options: ServeOptions): Promise<void> {
  process.umask(0o077);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  // One that was there, from a clone for example, may be open to others.
  await chmod(config.dataDir, 0o700);
  const lock = await lockWorkspace(config.dataDir, config);
  try {
    const server = await makeServer(config, options, lock);
    await runServer(server);
  } finally {
    await lock.release();
  }
}

/** A server that is made, and not started. */
type Made = Awaited<ReturnType<typeof makeServer>>;

async function makeServer(config: Config, options: ServeOptions, lock: WorkspaceLock) {
  const stopping = new Stopping(options.signal);
  const run = await openRunFiles(config.dataDir);
  const { log, change: changeLog } = openLog({
    level: config.logs.level,
    format: config.logs.format,
    file: config.logs.file ? path.join(config.dataDir, 'logs', 'server.log') : null,
    secrets: [run.token, ...config.secrets],
  });
  for (const warning of config.warnings) log.warn(warning);
  const live = new LiveSettings(config);
  const defaultAgent = (): string | null => reloading.applied.defaultAgent;
  const { epoch } = lock;
  const parts = await openParts(config, { log, epoch, live, stopping, defaultAgent });
  const reloading: Reloading<Config> = new Reloading({
    started: config,
    load: async () => {
      if (!options.reload) throw new DuragentError('conflict', NO_RELOAD);
      const next = await options.reload();
      changeLog({ level: next.logs.level, secrets: next.secrets });
      return next;
    },
    compare: compareConfigs,
    apply: async (next) => {
      live.apply(next);
      door.apply(next);
      parts.webhooks.apply(next.webhooks);
      return await parts.hub.reload(next.gateways, routingOf(next));
    },
    warningsOf: (next) => next.warnings,
    log,
  });
  const requests = new ReloadRequests(reloading, stopping);
  const startedAt = new Date().toISOString();
  const instance = randomUUID();
  const door = new HttpDoor(config, {
    parts,
    run,
    startedAt,
    instance,
    log,
    ready: () => {
      if (stopping.signal.aborted) return { ready: false, reason: 'stopping' };
      if (!requests.isReady) return { ready: false, reason: 'starting' };
      return { ready: true, ...(reloading.fault === null ? {} : { reason: reloading.fault }) };
    },
    reload: requests.reload,
    onShutdown: () => stopping.stop(),
    defaultAgent,
  });
  const named = { startedAt, instance };
  return { config, options, lock, stopping, run, log, parts, reloading, requests, door, named };
}

/** Starts everything in its order, and once it is to end, stops it in its order. */
async function runServer(made: Made): Promise<void> {
  const { stopping, log, requests } = made;
  process.on('SIGHUP', requests.ask);
  const watches: (() => void)[] = [];
  try {
    const server = await startServer(made);
    watches.push(...watchServer(made, server));
    await stopping.wait();
    log.info({}, 'server stops');
  } finally {
    requests.isReady = false;
    stopping.stop();
    for (const stopWatching of watches) stopWatching();
    try {
      await stopServer(made);
    } finally {
      // Not before: without it the signal would end the process at once.
      process.off('SIGHUP', requests.ask);
    }
  }
  if (stopping.failure) throw stopping.failure;
}

/** Resolves when it can be reached, and what an earlier server left goes on. */
async function startServer(made: Made): Promise<ServerFile> {
  const { config, options, lock, run, log, parts, requests, door, named } = made;
  const { hub, tools, sessions, consent, scheduler } = parts;
  // What was asked for by name has to work; what is found by itself is looked for when it is needed.
  if (config.sandbox.mode === 'bubblewrap') await (await tools.open()).sandbox.ready();
  const report = await sessions.start();
  const { url, isLoopback } = await door.open(config);
  const server: ServerFile = {
    pid: process.pid,
    host: hostname(),
    started_at: named.startedAt,
    url,
    version,
    workspace: run.workspace,
    instance: named.instance,
    token_file: run.tokenFile,
    ephemeral: options.ephemeral ?? null,
  };
  await run.publish(server);
  await warnOfWritableGateways(config, log);
  await hub.start(sessions, config.gateways, consent);
  requests.isReady = true;
  log.info({ url, config: config.file, epoch: lock.epoch, ...report }, 'server ready');
  if (!isLoopback) log.warn(BEYOND_LOOPBACK);
  options.onListening?.(server);
  sessions.resume();
  await scheduler.start();
  // Processes of an earlier server that go on, or whose end nobody was told of.
  if (existsSync(path.join(config.dataDir, 'processes'))) {
    tools.open().catch((error: unknown) => log.error({ err: error }, 'tools not opened'));
  }
  requests.catchUp();
  return server;
}

/** Watches for what changes a running server, or ends it. @returns what stops watching. */
function watchServer(made: Made, server: ServerFile): (() => void)[] {
  const { config, options, lock, stopping, run, log, parts, reloading, requests, door } = made;
  const watches: (() => void)[] = [watchHeap(parts)];
  const files = options.reload ? watchConfig(config, requests.ask) : null;
  if (files) watches.push(() => files.close());
  watchEpoch(lock, stopping, () => {
    run
      .publish(server)
      .catch((error: unknown) => log.warn({ err: error }, 'run/server.json not written'));
  });
  if (server.ephemeral !== null) {
    const stopWatching = watchNeed(parts, {
      afterMs: server.ephemeral * 1000,
      hasGateways: () => reloading.applied.gateways.length > 0,
      lastUse: () => door.usedAt,
      onUnused: () => stopping.stop(),
    });
    watches.push(stopWatching);
  }
  return watches;
}

/** By when gateways that do not listen are killed, from the begin of a stop, and how long they have at least, in ms. */
const GATEWAYS_GONE_MS = 6_500;
const GATEWAYS_LEAST_MS = 1_500;

/** First nothing comes in; then sessions end what they do; then what they did it with is closed. */
async function stopServer({ stopping, run, parts, door }: Made): Promise<void> {
  const { storage, hub, tools, sessions, scheduler } = parts;
  const since = systemClock.monotonic();
  // Whoever asks meanwhile is told that it stops.
  try {
    hub.stopIntake();
    await scheduler.close();
    if (!stopping.failure) await sessions.close();
  } finally {
    const left = GATEWAYS_GONE_MS - (systemClock.monotonic() - since);
    const withinMs = Math.max(left, GATEWAYS_LEAST_MS);
    await Promise.all([hub.close({ withinMs }), closeTools(tools)]);
    await storage.usage.close();
    door.close();
    await run.retract();
  }
}
