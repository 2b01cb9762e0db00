import { DuragentError, type OnDisconnect } from '@duragent/protocol';
import { homedir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import type { z } from 'zod';
import type { FileFault } from '../core/agent.ts';
import { type BudgetLimits, limitsOf } from '../core/budget/limits.ts';
import type { PriceTable } from '../core/budget/prices.ts';
import type { Route } from '../core/routing.ts';
import { changedKeys } from './changed-keys.ts';
import {
  configFileSchema,
  hostSchema,
  keysWithoutEffect,
  pathSchema,
  portSchema,
  tokenSchema,
  type ConfigFile,
} from './config-schema.ts';
import {
  parsePort,
  readAgentKey,
  readAllKeys,
  readModelKeys,
  readSettings,
  type ModelKeys,
} from './environment.ts';
import { expandHome, filesBefore, findConfig } from './find-config.ts';
import {
  gatewaySecrets,
  gatewaysOf,
  gatewayWarnings,
  type GatewaySettings,
} from './gateway-settings.ts';
import { readConfigFiles } from './read-config-files.ts';
import { routesOf, routeWarnings } from './route-settings.ts';
import type { Environment } from './substitute.ts';
import { webhookSecrets, webhooksOf, type WebhookSettings } from './webhook-settings.ts';
import type { GoodReading } from './yaml-file.ts';

/** What was typed; each goes before the environment and the file. */
export interface ConfigFlags {
  config?: string;
  /** No file is a fault. */
  requireConfig?: boolean;
  host?: string;
  port?: string | number;
  dataDir?: string;
  agentsDir?: string;
  apiToken?: string;
  adminToken?: string;
}

/** How this server is to run: every value checked, every path absolute, durations in ms. */
export interface Config {
  /** The file it was read from; null: there was none. */
  file: string | null;
  /** The folder that people call the workspace: it holds the data directory, where that is the default one. */
  workspaceRoot: string;
  /** Files that are not there, or empty, and that another start would read as its configuration. */
  reservedFiles: string[];
  dataDir: string;
  sessionsPath: string;
  artifactsPath: string;
  memoryPath: string;
  /** How long an approval waits, in ms; 0: for ever. */
  approvalTimeoutMs: number;
  sandbox: {
    mode: 'auto' | 'trust' | 'bubblewrap';
    network: 'all' | 'none';
    /** Where commands run and may write. */
    workspace: string;
    /** The homes of who runs this, which commands do not see. */
    homes: string[];
  };
  /** For the Brave Search API; null: there is none. */
  searchKey: string | null;
  /** What child processes may see of this one's environment. */
  childEnvironment: Record<string, string>;
  agents: { path: string; cacheSize: number };
  defaultAgent: string | null;
  /** IANA; null: the system's. Asking for that one costs 12 ms, so only who needs it asks. */
  timezone: string | null;
  host: string;
  port: number;
  /** The port was typed, comes from the environment, or is strict: only this one will do. */
  portExplicit: boolean;
  publicUrl: string | null;
  hosts: string[];
  apiToken: string | null;
  adminToken: string | null;
  adminEnabled: boolean;
  httpEnabled: boolean;
  cliEnabled: boolean;
  requestTimeoutMs: number;
  idleTimeoutMs: number;
  keepAliveIntervalMs: number;
  maxConnections: number;
  /** The chat platforms, in the order of the file; no two have one name. */
  gateways: GatewaySettings[];
  routes: Route[];
  /** What agents may tell beside chats. */
  webhooks: WebhookSettings;
  delivery: {
    streaming: 'edit' | 'draft';
    onUncertain: 'resend_marked' | 'notify' | 'never';
    mirror: boolean;
    ttlMs: number;
  };
  session: { onDisconnect: OnDisconnect; maxBackgroundMs: number; outputBufferSize: number };
  models: {
    /** How often a failed call is repeated before the fallbacks. */
    retries: number;
    maxConcurrent: number;
    /** What models cost, where the list prices are not to hold. */
    prices: PriceTable;
    keys: ModelKeys;
    /** The key that belongs to one agent, by its name; null: there is none. */
    agentKey(agent: string): string | null;
    /** Base URL without `/v1`, such as `http://127.0.0.1:11434`. */
    ollamaHost: string;
  };
  /** What all agents may spend together, and each session and sender. */
  budget: BudgetLimits;
  /** Whether a change of the file is seen by itself, and how long it waits for more. */
  reload: { enabled: boolean; debounceMs: number };
  logs: ConfigFile['logs'];
  allowNetworkFs: boolean;
  /** Every key and token it holds, those of agents, gateways and webhooks too, so that no log shows one. */
  secrets: string[];
  /** What to tell the operator: old names, keys that change nothing in this version, routes to nowhere. */
  warnings: string[];
}

/**
 * Loads the configuration: a flag that was typed, else the environment (and the `.env` beside the
 * file, which never overrides), else the file, else the default.
 * @throws DuragentError `usage` for a flag; `config_invalid` with every other fault, one a line as
 *   `file:line:column: text` or `VARIABLE: text`, and `details.faults: FileFault[]`.
 */
export async function loadConfig(options: {
  cwd: string;
  env: Environment;
  flags?: ConfigFlags;
  /** Default: the user's home directory. */
  home?: string;
}): Promise<Config> {
  const { cwd, flags = {}, home = homedir() } = options;
  const typed = readFlags(flags);
  const variable = options.env['DURAGENT_CONFIG'];
  const place = await findConfig({ cwd, home, flag: flags.config, variable });
  if (place.file === null && flags.requireConfig === true) {
    const message = 'there is no duragent.yaml here; make one, or name it with --config';
    throw new DuragentError('config_invalid', message);
  }
  const { env, reading, faults } = await readConfigFiles(place, options.env, cwd);
  const { settings, faults: variableFaults } = readSettings(env);
  if (!reading.ok || faults.length > 0 || variableFaults.length > 0) {
    throw new DuragentError(
      'config_invalid',
      [...faults.map(formatFault), ...variableFaults].join('\n'),
      { details: { faults } },
    );
  }

  const file = reading.value;
  const fromCwd = (path: string): string => resolve(cwd, expandHome(path, home));
  const fromFile = (path: string): string => resolve(place.base, expandHome(path, home));
  const asked = typed.dataDir ?? settings.dataDir;
  const filed =
    file.data_dir === null ? join(place.workspaceRoot, '.duragent') : fromFile(file.data_dir);
  const dataDir = asked === undefined ? filed : fromCwd(asked);
  const paths = fillPaths(file, dataDir, fromFile);
  const agentsPath =
    typed.agentsDir === undefined ? paths.agents.static.path : fromCwd(typed.agentsDir);
  const explicitPort = typed.port ?? settings.port;
  const defaults = fillPaths(configFileSchema.parse({}, { jitless: true }), dataDir, fromFile);
  return {
    file: place.file,
    workspaceRoot: place.workspaceRoot,
    reservedFiles: filesBefore(place),
    dataDir,
    sessionsPath: paths.services.session.path,
    artifactsPath: paths.services.artifacts.path,
    memoryPath: paths.services.memory.path,
    approvalTimeoutMs: file.approvals.timeout,
    sandbox: {
      mode: file.sandbox.mode,
      network: file.sandbox.network,
      // The file may lie elsewhere: in the data directory, or at home for all workspaces.
      workspace:
        reading.at(['sandbox', 'workspace'], '') === null
          ? place.workspaceRoot
          : fromFile(file.sandbox.workspace),
      homes: [...new Set([home, userInfo().homedir])],
    },
    searchKey: env['BRAVE_API_KEY'] || null,
    childEnvironment: childEnvironment(options.env),
    agents: { path: agentsPath, cacheSize: file.agents.cache_size },
    defaultAgent: file.default_agent,
    timezone: file.timezone,
    host: typed.host ?? settings.host ?? file.server.host,
    port: explicitPort ?? filePort(reading),
    portExplicit: explicitPort !== undefined || file.server.port_strict,
    publicUrl: file.server.public_url,
    hosts: file.server.hosts,
    apiToken: typed.apiToken ?? settings.apiToken ?? file.server.api_token,
    adminToken: typed.adminToken ?? settings.adminToken ?? file.admin.token,
    adminEnabled: file.admin.enabled,
    httpEnabled: file.gateways.http.enabled,
    cliEnabled: file.gateways.cli.enabled,
    requestTimeoutMs: file.server.request_timeout_seconds * 1000,
    idleTimeoutMs: file.server.idle_timeout_seconds * 1000,
    keepAliveIntervalMs: file.server.keep_alive_interval_seconds * 1000,
    maxConnections: file.server.max_connections,
    gateways: gatewaysOf(file, fromFile),
    routes: routesOf(file),
    webhooks: webhooksOf(file),
    delivery: {
      streaming: file.delivery.streaming,
      onUncertain: file.delivery.on_uncertain,
      mirror: file.delivery.mirror,
      ttlMs: file.delivery.ttl,
    },
    session: {
      onDisconnect: file.session.on_disconnect,
      maxBackgroundMs: file.session.max_background_runtime,
      outputBufferSize: file.session.output_buffer_size,
    },
    models: {
      retries: file.models.retry.attempts,
      maxConcurrent: file.models.max_concurrent,
      prices: file.models.prices,
      keys: readModelKeys(env),
      agentKey: (agent) => readAgentKey(env, agent),
      ollamaHost: settings.ollamaHost,
    },
    budget: limitsOf(file.budget),
    reload: { enabled: file.reload.enabled, debounceMs: file.reload.debounce },
    logs: file.logs,
    allowNetworkFs: file.allow_network_fs,
    secrets: [
      ...readAllKeys(env),
      ...[file.server.api_token, file.admin.token].filter((token) => token !== null),
      ...[typed.apiToken, typed.adminToken].filter((token) => token !== undefined),
      ...gatewaySecrets(reading),
      ...webhookSecrets(reading),
    ],
    warnings: [
      ...warningsOf(reading, paths, defaults),
      ...formatAll(gatewayWarnings(reading)),
      ...formatAll(await routeWarnings(reading, agentsPath)),
    ],
  };
}

/** A list, so that no key of a model or token of another gateway is handed on. */
function childEnvironment(env: Environment): Record<string, string> {
  const names = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'];
  return Object.fromEntries(
    names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}

function readFlags(flags: ConfigFlags) {
  function read<T>(name: string, schema: z.ZodType<T>, value: unknown): T | undefined {
    if (value === undefined) return undefined;
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    throw new DuragentError('usage', `${name}: ${result.error.issues[0]?.message ?? 'not usable'}`);
  }
  const port = typeof flags.port === 'string' ? parsePort(flags.port) : flags.port;
  return {
    host: read('--host', hostSchema, flags.host),
    port: read('--port', portSchema, port),
    dataDir: read('--data-dir', pathSchema, flags.dataDir),
    agentsDir: read('--agents-dir', pathSchema, flags.agentsDir),
    apiToken: read('--api-token', tokenSchema, flags.apiToken),
    adminToken: read('--admin-token', tokenSchema, flags.adminToken),
  };
}

function filePort({ value, at }: GoodReading<ConfigFile>): number {
  const { server, gateways } = value;
  return at(['gateways', 'http', 'port'], '') === null ? server.port : gateways.http.port;
}

/** The paths of the file, absolute, and the defaults that depend on the data directory. */
function fillPaths(file: ConfigFile, dataDir: string, at: (path: string) => string) {
  const fill = (path: string | null, ...standard: string[]): string =>
    path === null ? join(dataDir, ...standard) : at(path);
  const { agents, services } = file;
  return {
    ...file,
    agents: {
      ...agents,
      static: { ...agents.static, path: fill(agents.static.path, 'agents') },
      dynamic: { path: fill(agents.dynamic.path, 'sys', 'dyn_agents') },
    },
    services: {
      session: { ...services.session, path: fill(services.session.path, 'sessions') },
      memory: { ...services.memory, path: fill(services.memory.path, 'memory') },
      artifacts: { ...services.artifacts, path: fill(services.artifacts.path, 'artifacts') },
    },
  };
}

function warningsOf(
  { at, hints }: GoodReading<ConfigFile>,
  value: unknown,
  defaults: unknown,
): string[] {
  const idle = changedKeys(value, defaults, keysWithoutEffect).map((path) =>
    at(path, `${path.join('.')} is checked but has no effect in this version`),
  );
  return formatAll([...hints, ...idle]);
}

function formatAll(warnings: readonly (FileFault | null)[]): string[] {
  return warnings.filter((warning) => warning !== null).map(formatFault);
}

/** A fault as people read it: `file:line:column: text`. */
export function formatFault({ file, line, column, message }: FileFault): string {
  return `${file}:${line}:${column}: ${message}`;
}
