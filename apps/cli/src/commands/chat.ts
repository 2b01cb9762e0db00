import { homedir } from 'node:os';
import { dirname, parse, sep } from 'node:path';
import { realpath } from 'node:fs/promises';
import { DuragentError, type SessionView } from '@duragent/protocol';
import { connect, exists } from '../client/connect.ts';
import { pickSession } from '../client/pick-session.ts';
import type { SessionClient } from '../client/session-client.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { importServer } from '../server.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { talk } from './talk.ts';

/** `duragent chat`: a new session, or `--session`; makes the workspace where there is none. */
export async function chat(
  context: CliContext,
  options: { agent?: string; session?: string },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const made = context.globals.server === null ? await ensureWorkspace(context) : null;
  const client = await connect(context, { signal, dataDir: made?.dataDir });
  const session =
    options.session === undefined
      ? await client.createSession({ agent: options.agent, origin: 'cli' }, { signal })
      : await pickSession(client, options.session, { signal });
  if (session.status === 'ended') {
    throw new DuragentError(
      'session_ended',
      `${session.session} has ended. \`duragent attach ${session.session}\` shows it; \`duragent chat\` begins a new one.`,
    );
  }
  const opening = [...(made?.said ?? []), ...(await introduce(client, session, signal))];
  return await talk(context, { client, session, opening, readOnly: false, raw: false });
}

/** Who answers, with which model, and what to do when that is only `echo`. */
export async function introduce(
  client: SessionClient,
  session: SessionView,
  signal: AbortSignal,
): Promise<string[]> {
  const { agents } = await client.agents({ signal });
  const model = agents.find((agent) => agent.name === session.agent)?.model;
  const name = sanitizeLine(session.agent);
  const who = model === undefined ? name : `${name} (${sanitizeLine(model)})`;
  const opening = [`${who} · ${session.session} · /help, Ctrl-D detaches`];
  if (model !== undefined && /^echo(\/|$)/.test(model)) {
    opening.push(
      'This is echo, which has no model: it only repeats what it is told. Set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or start Ollama; then `duragent serve stop` and `duragent chat` again.',
    );
  }
  return opening;
}

/** @throws DuragentError usage, in `/` and in the home directory */
async function ensureWorkspace(context: CliContext): Promise<{ dataDir: string; said: string[] }> {
  const { loadConfig, createWorkspace } = await importServer();
  const { cwd, env } = context;
  const config = await loadConfig({ cwd, env });
  if (await exists(config.dataDir)) return { dataDir: config.dataDir, said: [] };
  const here = await realpath(cwd);
  const home = await realpath(homedir()).catch(() => homedir());
  if ((here === parse(here).root || here === home) && dirname(config.dataDir) === cwd) {
    throw new DuragentError(
      'usage',
      `There is no workspace in ${cwd}, and chat makes none here. Go to a project's folder, or make one here with \`duragent init\`.`,
    );
  }
  const made = await createWorkspace(config.dataDir, { agentsDir: config.agents.path });
  const starter = made.some((path) => path.startsWith(config.agents.path + sep));
  const what = starter ? 'a workspace with a starter agent' : 'a workspace';
  return { dataDir: config.dataDir, said: [`Made ${what}: ${config.dataDir}`] };
}
