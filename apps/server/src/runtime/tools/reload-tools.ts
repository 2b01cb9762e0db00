import { z } from 'zod';
import type { Tool } from '../../ports/tool.ts';
import type { CliTools } from './cli-tools.ts';
import { typedTool } from './typed-tool.ts';

/** How many names or faults are told of each kind. */
const MAX_TOLD = 50;

/** Reads the command line tools of the calling agent anew, and says what changed. */
export function reloadToolsTool(tools: Pick<CliTools, 'reload'>): Tool {
  return typedTool({
    name: 'reload_tools',
    description:
      'Reads your command line tools anew and says which are new, changed, gone or broken. Use it after a tool in a tools folder was added or mended; what is new can be called in your next step.',
    schema: z.strictObject({}),
    builtin: 'reload_tools',
    action: () => null,
    harmless: () => true,
    shown: () => 'Read the command line tools anew',
    effect: 'idempotent',
    onInterrupt: 'retry',
    async run(_, { caller }) {
      const { names, added, removed, changed, broken } = await tools.reload(caller.agent);
      const lines = [
        names.length === 0 ? 'There are no command line tools.' : `Tools: ${listed(names)}.`,
        ...(added.length === 0 ? [] : [`New: ${listed(added)}.`]),
        ...(changed.length === 0 ? [] : [`Changed: ${listed(changed)}.`]),
        ...(removed.length === 0 ? [] : [`Gone: ${listed(removed)}.`]),
        ...(added.length + changed.length + removed.length === 0 ? ['Nothing changed.'] : []),
        ...broken.slice(0, MAX_TOLD).map((fault) => `Broken: ${fault}`),
      ];
      return { outcome: 'ok', content: lines.join('\n') };
    },
  });
}

function listed(names: readonly string[]): string {
  const more = names.length - MAX_TOLD;
  return `${names.slice(0, MAX_TOLD).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
