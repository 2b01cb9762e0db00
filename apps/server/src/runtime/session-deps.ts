import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { Clock } from '../ports/clock.ts';
import type { ToolOutputs } from '../ports/tool-outputs.ts';
import type { EffectRunner } from './effects.ts';
import type { Logger } from './logger.ts';
import type { SessionSettings } from './rules.ts';

/** What all sessions of a server share. */
export interface SessionDeps {
  clock: Clock;
  epoch: number;
  agents: AgentCatalog;
  runner: EffectRunner;
  settings: SessionSettings;
  outputs: ToolOutputs;
  /** Told once that a session's end is on disk. */
  onEnded?: (session: string) => void;
  log: Logger;
}
