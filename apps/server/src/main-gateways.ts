import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { DuragentError } from '@duragent/protocol';
import { fileAccessStore } from './adapters/access-store/filesystem.ts';
import { systemClock } from './adapters/clock/system.ts';
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
    binDirs: [...binDirsAbove(config.workspaceRoot), ...binDirsAbove(import.meta.dirname)],
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

/** What the configuration says of where messages go. */
export function routingOf({ routes, defaultAgent, delivery }: Config) {
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
