import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import path from 'node:path';
import { DuragentError, type ReloadReport, type ServerFile } from '@duragent/protocol';
import { z } from 'zod';
import manifest from '../package.json' with { type: 'json' };
import { fileAccessStore } from './adapters/access-store/filesystem.ts';
import { fileAgentCatalog } from './adapters/agent-catalog/filesystem.ts';
import { fileArtifactStore } from './adapters/artifact-store/filesystem.ts';
import { workspaceFileReader } from './adapters/artifact-store/workspace-file.ts';
import { systemClock } from './adapters/clock/system.ts';
import { FileWatch } from './adapters/config-watch/filesystem.ts';
import { processGateways } from './adapters/gateway/process.ts';
import { fileInboxStore } from './adapters/inbox/filesystem.ts';
import { createLanguageModels } from './adapters/language-model/language-models.ts';
import { openLog } from './adapters/log/pino.ts';
import { openRunFiles } from './adapters/run-files/filesystem.ts';
import { openFileScheduleStore } from './adapters/schedule-store/filesystem.ts';
import { openFileSessionStore } from './adapters/session-store/filesystem.ts';
import type { Tools } from './main-tools.ts';
import { fileToolOutputs } from './adapters/tool-outputs/filesystem.ts';
import { fileUsageStore } from './adapters/usage-store/filesystem.ts';
import { lockWorkspace, type WorkspaceLock } from './adapters/workspace-lock/filesystem.ts';
import { readAgentFolder } from './config/agent-folder.ts';
import { compareConfigs } from './config/compare-config.ts';
import { watchDirectives } from './config/directives.ts';
import { type Config, formatFault } from './config/load-config.ts';
import { readYaml } from './config/yaml-file.ts';
import { createApp } from './http/app.ts';
import { listen } from './http/listen.ts';
import { createHttpServer, limitTimes } from './http/server.ts';
import type { Agent, ModelRef } from './core/agent.ts';
import type { BudgetRules } from './core/budget/budget-rules.ts';
import { scheduleRules } from './core/schedule/rules.ts';
import { refusedVariable } from './core/child-environment.ts';
import type { LanguageModel } from './ports/language-model.ts';
import { Budgets } from './runtime/budgets.ts';
import { ConsentDesk } from './runtime/consent-desk.ts';
import { EffectRunner } from './runtime/effects.ts';
import { GatewayHub } from './runtime/gateways/hub.ts';
import { watchUse } from './runtime/lifetime.ts';
import { OutboxView } from './runtime/outbox-view.ts';
import { Reloading } from './runtime/reloading.ts';
import type { SessionSettings } from './runtime/rules.ts';
import { replaySpending } from './runtime/replay-spending.ts';
import { SessionRegistry } from './runtime/session-registry.ts';
import { surroundingsReader } from './runtime/surroundings.ts';
import { LazyTools } from './runtime/tools/lazy-tools.ts';
import { sessionWork } from './runtime/scheduler/session-work.ts';
import { handOver } from './runtime/scheduler/scheduled-work.ts';
import { ScheduleDesk } from './runtime/scheduler/schedule-desk.ts';
import { Scheduler } from './runtime/scheduler/scheduler.ts';
import { Stopping } from './runtime/stopping.ts';

export { readEnvironment } from './config/environment.ts';
export { type Config, type ConfigFlags, loadConfig } from './config/load-config.ts';
export { exportMemory } from './main-memory.ts';
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
/** A folder of tools is found that soon. */
const FOLDERS_FRESH_MS = 5_000;
/** A hand's edit of who may speak holds that soon; what is approved or revoked by command, at once. */
const ACCESS_FRESH_MS = 500;

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
  const { log, change: changeLog } = openLog({
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
  const money = { rules: budgetRulesOf(config) };
  const agents = fileAgentCatalog({
    dir: config.agents.path,
    readFolder: (dir) => readAgentFolder(dir, () => money.rules),
    freshMs: AGENT_FRESH_MS,
    cacheSize: config.agents.cacheSize,
  });
  const artifacts = fileArtifactStore({ dir: config.artifactsPath });
  const outputs = fileToolOutputs({ dir: config.sessionsPath });
  const tools = new LazyTools(
    () =>
      import('./main-tools.ts').then(({ openTools }) =>
        openTools({
          config,
          clock: systemClock,
          log,
          outputs,
          artifacts,
          sessions: () => sessions,
          schedules: {
            desk: schedules,
            timezone,
            chatsOf: (session) => sessions.summary(session).chats.filter(({ bound }) => bound),
          },
        }),
      ),
    toolFolders(config.dataDir),
  );
  const gatewaysDir = path.join(config.dataDir, 'gateways');
  const hub = new GatewayHub(
    {
      clock: systemClock,
      log,
      agents,
      runner: processGateways({
        clock: systemClock,
        log,
        baseEnv: config.childEnvironment,
        nodePath: process.execPath,
        binDirs: [...binDirsAbove(config.workspaceRoot), ...binDirsAbove(import.meta.dirname)],
        isRefusedVariable: refusedVariable,
        cwd: config.workspaceRoot,
      }),
      inboxes: fileInboxStore({ dir: gatewaysDir, onSyncFailure: (error) => stopping.fail(error) }),
      artifacts,
      access: fileAccessStore({
        path: path.join(config.dataDir, 'access.yaml'),
        freshMs: ACCESS_FRESH_MS,
      }),
      mediaDir: (gateway) => path.join(gatewaysDir, gateway, 'media'),
      prepare: async (gateway) => {
        const media = path.join(gatewaysDir, gateway, 'media');
        await mkdir(media, { recursive: true, mode: 0o700 });
      },
    },
    routingOf(config),
  );
  const usage = fileUsageStore({
    directory: path.join(config.dataDir, 'usage'),
    onFailure: (error) => log.warn({ err: error }, 'usage not written'),
  });
  const budgets = new Budgets({
    clock: systemClock,
    timezone: config.timezone,
    rules: () => money.rules,
    usage,
    replay: (since) => replaySpending(since, { sessions, epoch: lock.epoch, log }),
    onFault: (error) => log.error({ err: error }, 'spending of the day not counted'),
  });
  // Read at each decision, and changed by a reload.
  const settings = settingsOf(config);
  const sessions = new SessionRegistry({
    clock: systemClock,
    epoch: lock.epoch,
    agents,
    store,
    runner: new EffectRunner({
      models,
      budgets,
      calls: tools,
      surroundings: surroundingsReader({
        clock: systemClock,
        directives: watchDirectives(config.dataDir, {
          freshMs: AGENT_FRESH_MS,
          onFault: (fault) => log.warn({}, formatFault(fault)),
        }),
        readFile: workspaceFileReader({ root: config.sandbox.workspace, hidden: [config.dataDir] }),
        freshMs: AGENT_FRESH_MS,
        memory: async (agent) => (await tools.open()).memoryDirective(agent),
      }),
      clock: systemClock,
      timezone: config.timezone,
      maxConcurrent: config.models.maxConcurrent,
      chats: hub,
    }),
    settings,
    outputs,
    onEnded: (session) => {
      // Where no tool was ever used, there is nothing to end.
      tools.made?.then((made) => made.endSession(session)).catch(() => undefined);
    },
    defaultAgent: () => reloading.applied.defaultAgent,
    log,
  });
  const consent = new ConsentDesk({
    sessions,
    agents,
    allowAlways: async (agent, rule) => (await tools.open()).policies.allowAlways(agent, rule),
    log,
  });
  const timezone = (): string =>
    config.timezone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const scheduler = new Scheduler({
    store: await openFileScheduleStore({
      directory: path.join(config.dataDir, 'schedules'),
      rules: scheduleRules,
    }),
    clock: systemClock,
    log,
    run: (run, options) =>
      handOver(
        sessionWork(() => sessions),
        run,
        options,
      ),
  });
  const schedules = new ScheduleDesk({
    scheduler,
    agents,
    clock: systemClock,
    timezone,
    defaultAgent: () => reloading.applied.defaultAgent,
  });
  const outbox = new OutboxView(sessions);
  stopping.onFailure = (why) => {
    sessions.abandon(why);
    void hub.close();
  };
  const startedAt = new Date().toISOString();
  const instance = randomUUID();
  const state = { isReady: false, isReloadAsked: false, usedAt: systemClock.monotonic() };
  const appOf = (now: Config) =>
    createApp({
      sessions,
      agents,
      gateways: hub,
      outbox,
      consent,
      schedules,
      reload: () => reload(),
      models: { describe: (model) => describe(models, model) },
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
      ready: () => {
        if (stopping.signal.aborted) return { ready: false, reason: 'stopping' };
        if (!state.isReady) return { ready: false, reason: 'starting' };
        return { ready: true, ...(reloading.fault === null ? {} : { reason: reloading.fault }) };
      },
      limits: now,
      onShutdown: () => stopping.stop(),
      logger: log,
      defaultAgent: () => reloading.applied.defaultAgent,
      clock: systemClock,
    });
  let handle = appOf(config).callback();
  const http = createHttpServer((req, res) => handle(req, res), config);
  const reloading = new Reloading<Config>({
    started: config,
    load: async () => {
      if (!options.reload) throw new DuragentError('conflict', NO_RELOAD);
      const next = await options.reload();
      changeLog({ level: next.logs.level, secrets: next.secrets });
      return next;
    },
    compare: compareConfigs,
    apply: async (next) => {
      Object.assign(settings, settingsOf(next));
      money.rules = budgetRulesOf(next);
      limitTimes(http, next);
      handle = appOf(next).callback();
      return await hub.reload(next.gateways, routingOf(next));
    },
    warningsOf: (next) => next.warnings,
    log,
  });
  const reload = async (): Promise<ReloadReport> => {
    if (stopping.signal.aborted) throw new DuragentError('draining', 'The server is stopping.');
    if (!state.isReady) throw new DuragentError('conflict', 'The server is starting; try again.');
    return await reloading.reload();
  };
  const onHangup = (): void => {
    if (!state.isReady) state.isReloadAsked = true;
    // Why it failed has been logged.
    else reload().catch(() => undefined);
  };
  process.on('SIGHUP', onHangup);
  http.on('request', () => {
    state.usedAt = systemClock.monotonic();
  });
  let stopWatching = (): void => undefined;
  let configWatch: FileWatch | null = null;
  try {
    // What was asked for by name has to work; what is found by itself is looked for when it is needed.
    if (config.sandbox.mode === 'bubblewrap') await (await tools.open()).sandbox.ready();
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
    await hub.start(sessions, config.gateways, consent);
    state.isReady = true;
    log.info(
      { url: server.url, config: config.file, epoch: lock.epoch, ...report },
      'server ready',
    );
    if (!isLoopback(address.address)) log.warn(BEYOND_LOOPBACK);
    options.onListening?.(server);
    sessions.resume();
    await scheduler.start();
    // Processes of an earlier server that go on, or whose end nobody was told of.
    if (existsSync(path.join(config.dataDir, 'processes'))) {
      tools.open().catch((error: unknown) => log.error({ err: error }, 'tools not opened'));
    }
    if (state.isReloadAsked) onHangup();
    if (options.reload && config.file !== null && config.reload.enabled) {
      const { debounceMs } = config.reload;
      const files = [config.file, path.join(path.dirname(config.file), '.env')];
      configWatch = new FileWatch({ files, debounceMs, onChange: onHangup });
    }
    watchEpoch(lock, stopping, () => {
      run
        .publish(server)
        .catch((error: unknown) => log.warn({ err: error }, 'run/server.json not written'));
    });
    if (ephemeral !== null) {
      stopWatching = watchUse(systemClock, {
        afterMs: ephemeral * 1000,
        isUsed: () => {
          const { clients, working } = sessions.load;
          // Whoever writes in a chat finds nobody that would start a server.
          const hasGateways = reloading.applied.gateways.length > 0;
          const hasSchedules = schedules.list().schedules.some(({ next_run }) => next_run !== null);
          return clients > 0 || working > 0 || sessions.isOwing || hasGateways || hasSchedules;
        },
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
    configWatch?.close();
    // Whoever asks meanwhile is told that it stops.
    try {
      hub.stopIntake();
      await scheduler.close();
      if (!stopping.failure) await sessions.close();
    } finally {
      await hub.close();
      await closeTools(tools);
      await usage.close();
      http.close();
      http.closeAllConnections();
      await run.retract();
      // Not before: without it the signal would end the process at once.
      process.off('SIGHUP', onHangup);
    }
  }
  if (stopping.failure) throw stopping.failure;
}

const NO_RELOAD =
  'This server was started without a way to read its configuration again; restart it.';

function settingsOf(config: Config): SessionSettings {
  const { session, models, delivery, approvalTimeoutMs } = config;
  return {
    onDisconnect: session.onDisconnect,
    outputBufferSize: session.outputBufferSize,
    modelRetries: models.retries,
    delivery,
    approvalTimeoutMs,
  };
}

/** Whether an agent has a folder of tools, or the workspace has; looked at every few seconds. */
function toolFolders(dataDir: string): (agent: Agent) => boolean {
  const known = new Map<string, { at: number; has: boolean }>();
  const has = (folder: string): boolean => {
    const now = systemClock.monotonic();
    const last = known.get(folder);
    if (last && now - last.at < FOLDERS_FRESH_MS) return last.has;
    const entry = { at: now, has: existsSync(folder) };
    known.set(folder, entry);
    return entry.has;
  };
  return ({ home }) => has(path.join(home, 'tools')) || has(path.join(dataDir, 'tools'));
}

/** Ends what runs for tools, where any were ever needed. */
async function closeTools(tools: LazyTools<Tools>): Promise<void> {
  // What could not be made has nothing that runs.
  const made = await tools.made?.catch(() => null);
  await made?.close();
}

function budgetRulesOf({ budget, models }: Config): BudgetRules {
  return { budget, prices: models.prices };
}

function routingOf({ routes, defaultAgent, delivery }: Config) {
  return { routes, defaultAgent, streaming: delivery.streaming };
}

/** Where npm puts commands, from a folder up. */
function binDirsAbove(folder: string): string[] {
  const dirs: string[] = [];
  for (let at = folder; ; at = path.dirname(at)) {
    dirs.push(path.join(at, 'node_modules', '.bin'));
    if (path.dirname(at) === at) return dirs;
  }
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
