import path from 'node:path';
import type { DuragentError } from '@duragent/protocol';
import { fileAgentCatalog } from './adapters/agent-catalog/filesystem.ts';
import { fileArtifactStore } from './adapters/artifact-store/filesystem.ts';
import { openFileScheduleStore } from './adapters/schedule-store/filesystem.ts';
import { openFileSessionStore } from './adapters/session-store/filesystem.ts';
import { fileToolOutputs } from './adapters/tool-outputs/filesystem.ts';
import { fileUsageStore } from './adapters/usage-store/filesystem.ts';
import { readAgentFolder } from './config/agent-folder.ts';
import type { Config } from './config/load-config.ts';
import { scheduleRules } from './core/schedule/rules.ts';
import type { LiveSettings } from './main-live-settings.ts';
import type { Logger } from './runtime/logger.ts';

/** An edit of an agent is live that soon. */
export const AGENT_FRESH_MS = 1_000;

/** What is kept on disk, gateways apart. */
export type Storage = Awaited<ReturnType<typeof openStorage>>;

/** Opens it. `onSyncFailure`: what was written may not be on disk, and nothing more may be. */
export async function openStorage(
  config: Config,
  deps: { log: Logger; live: LiveSettings; onSyncFailure: (error: DuragentError) => void },
) {
  const { log, live, onSyncFailure } = deps;
  return {
    sessions: await openFileSessionStore({ dir: config.sessionsPath, onSyncFailure }),
    schedules: await openFileScheduleStore({
      directory: path.join(config.dataDir, 'schedules'),
      rules: scheduleRules,
    }),
    agents: fileAgentCatalog({
      dir: config.agents.path,
      readFolder: (dir) => readAgentFolder(dir, () => live.budgets),
      freshMs: AGENT_FRESH_MS,
      cacheSize: config.agents.cacheSize,
    }),
    artifacts: fileArtifactStore({ dir: config.artifactsPath }),
    outputs: fileToolOutputs({ dir: config.sessionsPath }),
    usage: fileUsageStore({
      directory: path.join(config.dataDir, 'usage'),
      onFailure: (error) => log.warn({ err: error }, 'usage not written'),
    }),
  };
}
