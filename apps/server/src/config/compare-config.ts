import type { Config } from './load-config.ts';

/** What a reload makes of a new configuration, as keys of duragent.yaml in the order of the file. */
export interface ConfigChanges {
  /** New since `applied`: they can hold at once. */
  live: string[];
  /** Other than what the server was started with: they hold after a restart. */
  restart: string[];
}

interface Key {
  key: string;
  value: (config: Config) => unknown;
  /** Whether a reload applies it. */
  isLive: boolean;
}

const live = (key: string, value: Key['value']): Key => ({ key, value, isLive: true });
const restart = (key: string, value: Key['value']): Key => ({ key, value, isLive: false });

/** Every setting and the key that it comes from; none for what is no setting of its own. */
const keys: Record<keyof Config, readonly Key[]> = {
  file: [],
  workspaceRoot: [],
  reservedFiles: [],
  warnings: [],
  // Of a process whose environment does not change.
  childEnvironment: [],
  // Hidden whether or not they are in use.
  secrets: [],
  dataDir: [restart('data_dir', (config) => config.dataDir)],
  defaultAgent: [live('default_agent', (config) => config.defaultAgent)],
  timezone: [restart('timezone', (config) => config.timezone)],
  host: [restart('server.host', (config) => config.host)],
  port: [restart('server.port', (config) => config.port)],
  portExplicit: [restart('server.port_strict', (config) => config.portExplicit)],
  publicUrl: [live('server.public_url', (config) => config.publicUrl)],
  hosts: [live('server.hosts', (config) => config.hosts)],
  apiToken: [live('server.api_token', (config) => config.apiToken)],
  requestTimeoutMs: [live('server.request_timeout_seconds', (config) => config.requestTimeoutMs)],
  idleTimeoutMs: [live('server.idle_timeout_seconds', (config) => config.idleTimeoutMs)],
  keepAliveIntervalMs: [
    live('server.keep_alive_interval_seconds', (config) => config.keepAliveIntervalMs),
  ],
  maxConnections: [restart('server.max_connections', (config) => config.maxConnections)],
  adminEnabled: [live('admin.enabled', (config) => config.adminEnabled)],
  adminToken: [live('admin.token', (config) => config.adminToken)],
  httpEnabled: [restart('gateways.http.enabled', (config) => config.httpEnabled)],
  cliEnabled: [live('gateways.cli.enabled', (config) => config.cliEnabled)],
  gateways: [live('gateways.external', (config) => config.gateways)],
  routes: [live('routes', (config) => config.routes)],
  webhooks: [
    live('webhooks.outgoing', (config) => config.webhooks.outgoing),
    live('webhooks.allow_private', (config) => config.webhooks.allowPrivate),
  ],
  agents: [
    restart('agents.static.path', (config) => config.agents.path),
    restart('agents.cache_size', (config) => config.agents.cacheSize),
  ],
  session: [
    live('session.on_disconnect', (config) => config.session.onDisconnect),
    live('session.max_background_runtime', (config) => config.session.maxBackgroundMs),
    live('session.output_buffer_size', (config) => config.session.outputBufferSize),
  ],
  delivery: [
    live('delivery.streaming', (config) => config.delivery.streaming),
    live('delivery.on_uncertain', (config) => config.delivery.onUncertain),
    live('delivery.mirror', (config) => config.delivery.mirror),
    live('delivery.ttl', (config) => config.delivery.ttlMs),
  ],
  sessionsPath: [restart('services.session.path', (config) => config.sessionsPath)],
  artifactsPath: [restart('services.artifacts.path', (config) => config.artifactsPath)],
  memoryPath: [restart('services.memory.path', (config) => config.memoryPath)],
  approvalTimeoutMs: [live('approvals.timeout', (config) => config.approvalTimeoutMs)],
  sandbox: [restart('sandbox', (config) => config.sandbox)],
  searchKey: [restart('BRAVE_API_KEY', (config) => config.searchKey)],
  models: [
    live('models.prices', (config) => config.models.prices),
    live('models.retry.attempts', (config) => config.models.retries),
    restart('models.max_concurrent', (config) => config.models.maxConcurrent),
    restart('keys of models in the environment', (config) => config.models.keys),
    restart('OLLAMA_HOST', (config) => config.models.ollamaHost),
  ],
  budget: [
    live('budget.session_usd', (config) => config.budget.sessionUsd),
    live('budget.day_usd', (config) => config.budget.dayUsd),
    live('budget.sender_day_usd', (config) => config.budget.senderDayUsd),
  ],
  logs: [
    live('logs.level', (config) => config.logs.level),
    restart('logs.format', (config) => config.logs.format),
    restart('logs.file', (config) => config.logs.file),
  ],
  reload: [
    restart('reload.enabled', (config) => config.reload.enabled),
    restart('reload.debounce', (config) => config.reload.debounceMs),
  ],
  allowNetworkFs: [restart('allow_network_fs', (config) => config.allowNetworkFs)],
};

/** Compares a new configuration with what the server was started with, and with what holds now. */
export function compareConfigs(
  next: Config,
  { started, applied }: { started: Config; applied: Config },
): ConfigChanges {
  const all = Object.values(keys).flat();
  const changed = (before: Config, isLive: boolean): string[] =>
    all
      .filter((key) => key.isLive === isLive && !isSame(key.value(before), key.value(next)))
      .map(({ key }) => key);
  return { live: changed(applied, true), restart: changed(started, false) };
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
