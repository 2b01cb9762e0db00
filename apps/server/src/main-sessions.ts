import { workspaceFileReader } from './adapters/artifact-store/workspace-file.ts';
import { systemClock } from './adapters/clock/system.ts';
import { watchDirectives } from './config/directives.ts';
import { type Config, formatFault } from './config/load-config.ts';
import { endToolsOf } from './main-lazy-tools.ts';
import type { LiveSettings } from './main-live-settings.ts';
import { AGENT_FRESH_MS, type Storage } from './main-storage.ts';
import type { Tools } from './main-tools.ts';
import type { LanguageModel } from './ports/language-model.ts';
import { Budgets } from './runtime/budgets.ts';
import type { Chats } from './runtime/chats.ts';
import { EffectRunner } from './runtime/effects.ts';
import type { Logger } from './runtime/logger.ts';
import { replaySpending } from './runtime/replay-spending.ts';
import { SessionRegistry } from './runtime/session-registry.ts';
import { surroundingsReader } from './runtime/surroundings.ts';
import type { LazyTools } from './runtime/tools/lazy-tools.ts';

/** What sessions and their work are made of. */
interface SessionParts {
  log: Logger;
  epoch: number;
  live: LiveSettings;
  defaultAgent: () => string | null;
  storage: Storage;
  models: LanguageModel;
  tools: LazyTools<Tools>;
  chats: Chats;
}

/** All sessions of the workspace; none is read yet. */
export function openSessions(config: Config, parts: SessionParts): SessionRegistry {
  const { log, epoch, live, defaultAgent, storage, models, tools, chats } = parts;
  const budgets = new Budgets({
    clock: systemClock,
    timezone: config.timezone,
    rules: () => live.budgets,
    usage: storage.usage,
    replay: (since) => replaySpending(since, { sessions, epoch, log }),
    onFault: (error) => log.error({ err: error }, 'spending of the day not counted'),
  });
  const runner = new EffectRunner({
    models,
    budgets,
    calls: tools,
    surroundings: surroundingsOf(config, parts),
    clock: systemClock,
    timezone: config.timezone,
    maxConcurrent: config.models.maxConcurrent,
    chats,
  });
  const sessions = new SessionRegistry({
    clock: systemClock,
    epoch,
    agents: storage.agents,
    store: storage.sessions,
    runner,
    settings: live.sessions,
    outputs: storage.outputs,
    onEnded: (session) => endToolsOf(tools, session),
    defaultAgent,
    log,
  });
  return sessions;
}

function surroundingsOf(config: Config, { log, tools }: SessionParts) {
  return surroundingsReader({
    clock: systemClock,
    directives: watchDirectives(config.dataDir, {
      freshMs: AGENT_FRESH_MS,
      onFault: (fault) => log.warn({}, formatFault(fault)),
    }),
    readFile: workspaceFileReader({ root: config.sandbox.workspace, hidden: [config.dataDir] }),
    freshMs: AGENT_FRESH_MS,
    memory: async (agent) => (await tools.open()).memoryDirective(agent),
  });
}
