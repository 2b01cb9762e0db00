import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Workspace } from './duragent.ts';
import { modelAgent } from './model-agent.ts';
import type { ModelServer } from './model-server.ts';
import { readLog } from './session-log.ts';

/** A workspace whose agent `busy` runs every command that its model asks for. `rest`: of the configuration. */
export async function busyWorkspace(model: ModelServer, rest: object = {}): Promise<Workspace> {
  const agent = `${modelAgent(model.url)}\ntools: { builtin: [bash] }`;
  const workspace = await Workspace.create({ busy: agent });
  const sandbox = { mode: 'trust', workspace: '.' };
  // JSON is YAML.
  await workspace.configure(JSON.stringify({ sandbox, ...rest }));
  writeFileSync(path.join(workspace.dataDir, 'agents', 'busy', 'policy.yaml'), 'mode: dangerous\n');
  return workspace;
}

/** The model asks for these commands, one after another. */
export function askFor(model: ModelServer, ...commands: string[]): void {
  const toolCalls = commands.map((command, i) => ({
    id: `c${i}`,
    name: 'bash',
    arguments: { command },
  }));
  model.enqueue({ type: 'answer', toolCalls });
}

/** How often a command was begun that notes it with a line in this file of the workspace. */
export function begun(workspace: Workspace, name: string): number {
  const file = path.join(workspace.dir, name);
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
}

export async function eventsIn(workspace: Workspace, session: string) {
  return (await readLog(workspace.sessionDir(session))).events;
}
