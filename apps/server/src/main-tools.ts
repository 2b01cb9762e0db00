import path from 'node:path';
import type { ChatAddress } from '@duragent/protocol';
import manifest from '../package.json' with { type: 'json' };
import { newId } from './runtime/ids.ts';
import { skillFiles } from './adapters/agent-catalog/skill-files.ts';
import { workspaceFileReader } from './adapters/artifact-store/workspace-file.ts';
import { cliToolFiles } from './adapters/cli-tools/filesystem.ts';
import { fileMemoryStore } from './adapters/memory-store/filesystem.ts';
import { filePolicyStore } from './adapters/policy-store/filesystem.ts';
import { fileProcessStore } from './adapters/processes/filesystem.ts';
import { systemProcesses } from './adapters/processes/system.ts';
import type { SandboxPlaces } from './adapters/sandbox/bubblewrap.ts';
import { secretPlaces } from './adapters/sandbox/hidden-places.ts';
import { openSandbox } from './adapters/sandbox/open-sandbox.ts';
import { OrphanGuard } from './adapters/gateway/orphan-guard.ts';
import { fileToolPins } from './adapters/tool-pins/filesystem.ts';
import { mcpServers } from './adapters/tool-server/mcp.ts';
import { spawnInGroups } from './adapters/tool-server/server-process.ts';
import { lazyWeb } from './adapters/web/lazy-web.ts';
import type { Config } from './config/load-config.ts';
import { readYaml } from './config/yaml-file.ts';
import type { Agent, AgentTool, BuiltinTool } from './core/agent.ts';
import { cliFrontMatterSchema } from './core/cli-tools/describe-program.ts';
import { refusedVariable } from './core/child-environment.ts';
import { addressFault } from './core/net/public-address.ts';
import { hostFault, urlFault } from './core/net/public-url.ts';
import { evaluatePolicy } from './core/policy/evaluate-policy.ts';
import { parsePlainCommand } from './core/policy/plain-command.ts';
import { processRecordSchema, type ProcessRecord } from './core/processes/process-record.ts';
import { policyFileSchema } from './core/policy/policy-file.ts';
import type { ArtifactStore } from './ports/artifact-store.ts';
import type { Clock } from './ports/clock.ts';
import type { PolicyStore } from './ports/policy-store.ts';
import type { Sandbox } from './ports/sandbox.ts';
import type { Tool } from './ports/tool.ts';
import type { ToolOutputs } from './ports/tool-outputs.ts';
import type { Logger } from './runtime/logger.ts';
import type { SessionRegistry } from './runtime/session-registry.ts';
import { artifactTool } from './runtime/tools/artifact.ts';
import { askUserTool } from './runtime/tools/ask-user.ts';
import { backgroundProcessTool } from './runtime/tools/background-process.ts';
import { BackgroundProcesses } from './runtime/tools/background-processes.ts';
import { bashTool } from './runtime/tools/bash.ts';
import { CliTools } from './runtime/tools/cli-tools.ts';
import { reloadToolsTool } from './runtime/tools/reload-tools.ts';
import { reportProgressTool } from './runtime/tools/report-progress.ts';
import type { CallDeps } from './runtime/tools/call-runner.ts';
import { McpTools } from './runtime/tools/mcp-tools.ts';
import { memoryTools, readMemoryDirective } from './runtime/tools/memory.ts';
import { notifyUserTool } from './runtime/tools/notify-user.ts';
import { ownSessions } from './runtime/tools/own-sessions.ts';
import { receivedFile } from './runtime/tools/received-file.ts';
import { type ScheduleToolDeps, scheduleTool } from './runtime/tools/schedule.ts';
import { sessionTool } from './runtime/tools/session.ts';
import { loadSkillTool } from './runtime/tools/skills.ts';
import { AgentToolbox } from './runtime/tools/toolbox.ts';
import { webTool } from './runtime/tools/web.ts';

/** A policy edited by hand holds that soon. */
const POLICY_FRESH_MS = 500;

export interface ToolParts {
  config: Config;
  clock: Clock;
  log: Logger & { debug(fields: object, text: string): void };
  outputs: ToolOutputs;
  artifacts: ArtifactStore;
  sessions: () => SessionRegistry;
  schedules: Omit<ScheduleToolDeps, 'chatsOf'>;
  /** The chats that hear what the open turn of a session says. */
  chatsOf: (session: string) => readonly ChatAddress[];
  /** Names of the gateways there are. */
  gateways: () => readonly string[];
  /** Names of the webhooks there are. */
  webhooks: () => readonly string[];
}

/** What agents do their work with. */
export interface Tools {
  calls: CallDeps;
  sandbox: Sandbox;
  policies: PolicyStore;
  /** What the prompt says of an agent's memory. */
  memoryDirective: (agent: Agent) => Promise<string>;
  /** What is known of a background process; null: there is none of this id, or none any more. */
  process: (id: string) => ProcessRecord | null;
  /** Ends what runs for a session that has ended. */
  endSession(session: string): Promise<void>;
  /** Ends what runs for tools. */
  close(): Promise<void>;
}

/**
 * Makes the tools of agents; loaded when the first agent needs one.
 * @throws DuragentError config_invalid where the configured sandbox cannot work here.
 */
export async function openTools(parts: ToolParts): Promise<Tools> {
  const { config, clock, outputs, artifacts, sessions } = parts;
  const { workspace } = config.sandbox;
  const policies = filePolicyStore({
    dataDir: config.dataDir,
    readPolicy: (text, file) => readYaml(text, file, policyFileSchema),
    freshMs: POLICY_FRESH_MS,
  });
  const sandbox = await openSandboxOf(config, parts.log);
  const timezone = (): string | null => config.timezone;
  const memory = fileMemoryStore({ dir: config.memoryPath, sessionsDir: config.sessionsPath });
  const bash = bashTool({
    sandbox,
    workspace,
    networkOf: () => config.sandbox.network,
    outputs,
    parsePlain: parsePlainCommand,
  });
  const artifact = artifactTool({
    store: artifacts,
    readWorkspaceFile: workspaceFileReader({
      root: workspace,
      hidden: secretPlaces(sandboxPlacesOf(config)),
    }),
    isReceived: (session, id) => receivedFile(sessions(), session, id),
  });
  const web = lazyWeb(async () => {
    const [{ createGuardedFetch }, { internet }] = await Promise.all([
      import('./adapters/web/guarded-fetch.ts'),
      import('./adapters/web/internet.ts'),
    ]);
    const userAgent = `Mozilla/5.0 (compatible; Duragent/${manifest.version})`;
    const rules = { urlFault, hostFault, addressFault };
    const guardedFetch = createGuardedFetch(rules, { userAgent });
    return internet({ guardedFetch, brave: { key: config.searchKey } });
  });
  const mcp = openMcp(parts, sandbox);
  const skill = loadSkillTool(skillFiles);
  const shared = path.join(config.dataDir, 'tools');
  const networkOf = (): 'all' | 'none' => config.sandbox.network;
  const cli = new CliTools({
    files: cliToolFiles(),
    sandbox,
    workspace,
    sharedTools: shared,
    networkOf,
    outputs,
    log: parts.log,
    readFrontMatter: (text, file) => readYaml(text, file, cliFrontMatterSchema),
  });
  const processes = await openProcesses(parts, sandbox);
  const builtins: Readonly<Record<BuiltinTool, readonly Tool[]>> = {
    ask_user: [askUserTool],
    artifact: [artifact],
    background_process: [processes.tool],
    bash: [bash],
    memory: memoryTools({ store: memory, clock, timezone }),
    notify_user: [
      notifyUserTool({
        chatsOf: parts.chatsOf,
        gateways: parts.gateways,
        webhooks: parts.webhooks,
        open: (session) => sessions().open(session),
      }),
    ],
    reload_tools: [reloadToolsTool(cli)],
    report_progress: [reportProgressTool],
    schedule: [
      scheduleTool({
        ...parts.schedules,
        // A chat whose gateway has gone gets nothing, and keeps the others from nothing.
        chatsOf: (session) =>
          parts.chatsOf(session).filter(({ gateway }) => parts.gateways().includes(gateway)),
      }),
    ],
    session: [sessionTool(ownSessions(sessions))],
    web: [webTool({ web })],
  };
  const toolbox = new AgentToolbox({
    builtin: (name) => builtins[name],
    always: (agent) => (agent.skills.length > 0 ? [skill] : []),
    cli: (agent) => cli.toolsOf(agent),
    mcp: (agent, servers, signal) => mcpOf(mcp, agent, servers, parts, signal),
  });
  return {
    sandbox,
    policies,
    memoryDirective: (agent) => readMemoryDirective(memory, agent.name),
    process: (id) => processes.all.look(id),
    endSession: (session) => processes.all.endSession(session),
    close: async () => {
      await Promise.all([mcp.close(), processes.all.close()]);
      await sandbox[Symbol.asyncDispose]();
    },
    calls: {
      toolbox,
      judge: async (agent, call) => evaluatePolicy(await policies.load(agent), call),
      keepFile: (session, name, text) => keepFile(artifacts, sessions(), session, name, text),
    },
  };
}

async function openProcesses({ config, clock, log, sessions }: ToolParts, sandbox: Sandbox) {
  const directory = path.join(config.dataDir, 'processes');
  const searchPath = config.childEnvironment['PATH'] ?? '';
  const processes = systemProcesses({ sandbox, directory, searchPath });
  const all = new BackgroundProcesses({
    processes,
    store: fileProcessStore({
      directory,
      parse: (value) => processRecordSchema.safeParse(value).data ?? null,
    }),
    clock,
    log,
    wake: async (session, text, identity) => {
      const actor = await sessions().open(session);
      await actor.receive({
        content: [{ type: 'text', text }],
        handling: 'turn',
        source: { kind: 'agent', sender: { name: 'background_process' } },
        idempotencyKey: identity,
      });
    },
  });
  await all.open();
  const tool = backgroundProcessTool({
    all,
    processes,
    clock,
    workspace: config.sandbox.workspace,
    networkOf: () => config.sandbox.network,
    parsePlain: parsePlainCommand,
  });
  return { all, tool };
}

function openMcp({ config, clock, log }: ToolParts, sandbox: Sandbox): McpTools {
  const orphans = new OrphanGuard(log);
  const spawn = spawnInGroups((group) => orphans.watch(group));
  const { network } = config.sandbox;
  return new McpTools({
    servers: mcpServers({
      clock,
      log,
      version: manifest.version,
      baseEnv: config.childEnvironment,
      spawnServer: async (argv, { env, cwd }) => {
        const wrapped = await sandbox.wrap(argv, { cwd, env, network });
        if ('fault' in wrapped) throw new Error(wrapped.fault);
        return await spawn([wrapped.file, ...wrapped.args], wrapped);
      },
    }),
    pins: fileToolPins({ directory: path.join(config.dataDir, 'mcp') }),
    log,
  });
}

async function mcpOf(
  mcp: McpTools,
  { name, home }: Agent,
  servers: readonly Extract<AgentTool, { type: 'mcp' }>[],
  { log, config }: ToolParts,
  signal: AbortSignal = new AbortController().signal,
): Promise<readonly Tool[]> {
  const entries = servers.map(({ name: server, server: at, trusted, onInterrupt }) => ({
    name: server,
    trusted,
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
    place:
      'url' in at
        ? { type: 'url' as const, url: at.url, headers: {} }
        : {
            type: 'command' as const,
            argv: argvOf(at.command, home),
            cwd: config.sandbox.workspace,
            env: {},
          },
  }));
  const { tools, faults } = await mcp.toolsOf(name, entries, { signal });
  for (const fault of faults) log.warn({ agent: name }, fault);
  return tools;
}

/** A program that is named by a path lies in the agent's folder. */
function argvOf([program = '', ...args]: readonly string[], home: string): string[] {
  return [program.startsWith('.') ? path.resolve(home, program) : program, ...args];
}

async function openSandboxOf(config: Config, log: ToolParts['log']): Promise<Sandbox> {
  const { mode } = config.sandbox;
  return await openSandbox({
    mode,
    places: sandboxPlacesOf(config),
    baseEnv: config.childEnvironment,
    isRefusedVariable: refusedVariable,
    onProven({ level, network, description, problems }) {
      const facts = { mode, sandbox: level, network, problems };
      if (problems.length === 0) log.info(facts, `sandbox: ${description}`);
      else log.warn(facts, `sandbox, with problems: ${description}`);
    },
  });
}

function sandboxPlacesOf(config: Config): SandboxPlaces {
  const { workspace, homes } = config.sandbox;
  return {
    workspace,
    dataDir: config.dataDir,
    homes,
    envFolders: foldersOf(config),
    hidden: [config.sessionsPath, config.artifactsPath, config.memoryPath],
    readOnly: [config.agents.path, ...(config.file ? [config.file] : [])],
    reserved: [...config.reservedFiles, ...envFilesOf(config)],
  };
}

function envFilesOf(config: Config): string[] {
  return foldersOf(config).map((folder) => path.join(folder, '.env'));
}

/** Where the files lie that people configure this server with. */
function foldersOf({ workspaceRoot, file }: Config): string[] {
  return [...new Set([workspaceRoot, ...(file ? [path.dirname(file)] : [])])];
}

async function keepFile(
  artifacts: ArtifactStore,
  sessions: SessionRegistry,
  session: string,
  name: string,
  text: string,
): Promise<string> {
  const { agent } = sessions.summary(session);
  const meta = { id: newId('art'), name, mime: 'text/plain', owner: { agent, session } };
  return (await artifacts.put([Buffer.from(text)], meta)).id;
}
