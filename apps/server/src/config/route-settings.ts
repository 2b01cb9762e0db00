import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileFault } from '../core/agent.ts';
import type { Route } from '../core/routing.ts';
import type { ConfigFile } from './config-schema.ts';
import type { GoodReading } from './yaml-file.ts';

/** The routes of the file, in its order. */
export function routesOf({ routes }: ConfigFile): Route[] {
  return routes.map(({ match, agent }) => ({
    match: {
      ...(match.gateway === undefined ? {} : { gateway: match.gateway }),
      ...(match.chat_type === undefined ? {} : { chatType: match.chat_type }),
      ...(match.chat_id === undefined ? {} : { chatId: match.chat_id }),
      ...(match.sender_id === undefined ? {} : { senderId: match.sender_id }),
      ...(match.thread_id === undefined ? {} : { threadId: match.thread_id }),
    },
    agent,
  }));
}

/** What routes name and is not there: it may come later, so it is no fault. */
export async function routeWarnings(
  { value, at }: GoodReading<ConfigFile>,
  agentsPath: string,
): Promise<(FileFault | null)[]> {
  const gateways = new Set(value.gateways.external.map(({ name }) => name));
  const missing = await missingAgents(value, agentsPath);
  return value.routes.flatMap(({ match, agent }, index) => {
    const warnings: (FileFault | null)[] = [];
    const { gateway, chat_id, sender_id, thread_id } = match;
    if (gateway !== undefined && !gateways.has(gateway)) {
      const message = `there is no gateway "${gateway}" under gateways.external, so this matches nothing`;
      warnings.push(at(['routes', index, 'match', 'gateway'], message));
    }
    for (const [key, id] of Object.entries({ chat_id, sender_id, thread_id })) {
      const [prefix = ''] = id?.split(':', 1) ?? [];
      if (id === undefined || prefix === id || !gateways.has(prefix)) continue;
      const message = `ids of routes are the platform's own; write "${id.slice(prefix.length + 1)}", and "${prefix}" as gateway`;
      warnings.push(at(['routes', index, 'match', key], message));
    }
    if (missing.has(agent)) {
      const message = `there is no agent "${agent}" in ${agentsPath}; what matches is dropped until there is`;
      warnings.push(at(['routes', index, 'agent'], message));
    }
    return warnings;
  });
}

async function missingAgents({ routes }: ConfigFile, dir: string): Promise<Set<string>> {
  const missing = new Set<string>();
  for (const agent of new Set(routes.map((route) => route.agent))) {
    const folder = await stat(join(dir, agent)).catch(() => null);
    if (folder?.isDirectory() !== true) missing.add(agent);
  }
  return missing;
}
