import { existsSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from './adapters/clock/system.ts';
import type { Agent } from './core/agent.ts';
import { hasEnded } from './core/processes/process-record.ts';
// Types only: what it imports is large, and is loaded when the first agent needs a tool.
import type { ToolParts, Tools } from './main-tools.ts';
import { LazyTools } from './runtime/tools/lazy-tools.ts';

/** A folder of tools is found that soon. */
const FOLDERS_FRESH_MS = 5_000;

/** The tools of agents, which are made when the first agent needs one, of the parts that are there then. */
export function lazyTools(dataDir: string, parts: () => ToolParts): LazyTools<Tools> {
  return new LazyTools(
    () => import('./main-tools.ts').then(({ openTools }) => openTools(parts())),
    toolFolders(dataDir),
  );
}

/** Ends what runs for a session that has ended; where no tool was ever used, there is nothing. */
export function endToolsOf(tools: LazyTools<Tools>, session: string): void {
  tools.made?.then((made) => made.endSession(session)).catch(() => undefined);
}

/** Ends what runs for tools, where any were ever needed. */
export async function closeTools(tools: LazyTools<Tools>): Promise<void> {
  // What could not be made has nothing that runs.
  const made = await tools.made?.catch(() => null);
  await made?.close();
}

/**
 * Whether a background process is over: it has ended, was found dead, or is not known any more.
 * Where that cannot be found out it is not, and why is logged, once.
 */
export function processOver(
  tools: LazyTools<Tools>,
  log: { error(fields: object, text: string): void },
): (process: string) => Promise<boolean> {
  let isSaid = false;
  return async (process) => {
    try {
      const record = (await tools.open()).process(process);
      return record === null || hasEnded(record);
    } catch (error) {
      if (!isSaid) log.error({ process, err: error }, 'processes of schedules cannot be looked at');
      isSaid = true;
      return false;
    }
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
