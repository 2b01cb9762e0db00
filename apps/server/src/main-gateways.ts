import { mkdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { DuragentError } from '@duragent/protocol';
import { fileAccessStore } from './adapters/access-store/filesystem.ts';
import { systemClock } from './adapters/clock/system.ts';
import { findCommand } from './adapters/gateway/find-command.ts';
import type { ServerLog } from './adapters/gateway/gateway-log.ts';
import { processGateways } from './adapters/gateway/process.ts';
import { fileInboxStore } from './adapters/inbox/filesystem.ts';
import type { Config } from './config/load-config.ts';
import { refusedVariable } from './core/child-environment.ts';
import type { Storage } from './main-storage.ts';
import { GatewayHub } from './runtime/gateways/hub.ts';

/** A hand's edit of who may speak holds that soon; what is approved or revoked by command, at once. */
const ACCESS_FRESH_MS = 500;

/** Where chats come in and answers go out; it starts no gateway yet. */
export function openGateways(
  config: Config,
  deps: { log: ServerLog; storage: Storage; onSyncFailure: (error: DuragentError) => void },
): GatewayHub {
  const { log, storage, onSyncFailure } = deps;
  const dir = path.join(config.dataDir, 'gateways');
  const mediaDir = (gateway: string): string => path.join(dir, gateway, 'media');
  const runner = processGateways({
    clock: systemClock,
    log,
    baseEnv: config.childEnvironment,
    nodePath: process.execPath,
    binDirs: binDirsOf(config),
    isRefusedVariable: refusedVariable,
    cwd: config.workspaceRoot,
  });
  return new GatewayHub(
    {
      clock: systemClock,
      log,
      agents: storage.agents,
      runner,
      inboxes: fileInboxStore({ dir, onSyncFailure }),
      artifacts: storage.artifacts,
      access: fileAccessStore({
        path: path.join(config.dataDir, 'access.yaml'),
        freshMs: ACCESS_FRESH_MS,
      }),
      mediaDir,
      prepare: async (gateway) => {
        await mkdir(mediaDir(gateway), { recursive: true, mode: 0o700 });
      },
    },
    routingOf(config),
  );
}

/** Warns of gateways whose program, or a script of whose, sandboxed commands can write: it runs outside of the sandbox. */
export async function warnOfWritableGateways(
  config: Config,
  log: { warn(fields: object, text: string): void },
): Promise<void> {
  const { workspaceRoot, dataDir, agents, sandbox } = config;
  // Without a sandbox they can write everything.
  if (sandbox.mode === 'trust') return;
  const [writable, ...kept] = await Promise.all(
    [sandbox.workspace, dataDir, agents.path].map(real),
  );
  for (const { name, command, args } of config.gateways) {
    const { file } = await findCommand(command, {
      path: config.childEnvironment['PATH'] ?? '',
      binDirs: binDirsOf(config),
    });
    const files = await Promise.all(
      [file ?? command, ...args].map((word) => fileOf(path.resolve(workspaceRoot, word))),
    );
    const risky = files.find(
      (each) => each !== null && isIn(each, writable) && !kept.some((folder) => isIn(each, folder)),
    );
    if (risky == null) continue;
    log.warn(
      { gateway: name, file: risky },
      `sandboxed commands can write ${risky}, which the gateway ${name} runs outside of the sandbox: keep it outside of sandbox.workspace`,
    );
  }
}

/** Where links lead; where nothing is there, the path as it is. */
async function real(file: string): Promise<string> {
  return await realpath(file).catch(() => file);
}

/** A plain file where links lead; null: there is none. */
async function fileOf(word: string): Promise<string | null> {
  const file = await real(word);
  const facts = await stat(file).catch(() => null);
  return facts?.isFile() ? file : null;
}

/** Whether a file lies below a folder. */
function isIn(file: string, folder: string | undefined): boolean {
  return folder !== undefined && file.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}

/** What the configuration says of where messages go. */
export function routingOf({ routes, defaultAgent, delivery }: Config) {
  return { routes, defaultAgent, streaming: delivery.streaming };
}

/** Where commands of gateways are found beside PATH: those that came with the server go first, since sandboxed commands may write the workspace's. */
function binDirsOf(config: Config): string[] {
  return [...binDirsAbove(import.meta.dirname), ...binDirsAbove(config.workspaceRoot)];
}

/** Where npm puts commands, from a folder up. */
function binDirsAbove(folder: string): string[] {
  const dirs: string[] = [];
  for (let at = folder; ; at = path.dirname(at)) {
    dirs.push(path.join(at, 'node_modules', '.bin'));
    if (path.dirname(at) === at) return dirs;
  }
}
