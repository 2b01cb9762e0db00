import type { OnInterrupt } from '@duragent/protocol';
import type { Agent, AgentTool, BuiltinTool } from '../../core/agent.ts';
import type { Tool, Toolbox } from '../../ports/tool.ts';
import { onInterruptOf } from './on-interrupt.ts';

type CliTool = Extract<AgentTool, { type: 'cli' }>;
type McpEntry = Extract<AgentTool, { type: 'mcp' }>;

/** Where the tools of each kind come from. */
export interface ToolSources {
  /** What a built-in name gives an agent. */
  builtin: (name: BuiltinTool, agent: Agent) => readonly Tool[];
  /** What every agent has without naming it. */
  always: (agent: Agent) => readonly Tool[];
  /** The tools of an agent's MCP servers that answer. Never throws. */
  mcp: (
    agent: Agent,
    servers: readonly McpEntry[],
    signal: AbortSignal | undefined,
  ) => Promise<readonly Tool[]>;
  /** The agent's command line tools. Never throws. */
  cli: (agent: Agent, declared: readonly CliTool[]) => Promise<readonly Tool[]>;
}

/** The tools that agents name in their files. Of two with one name the first counts. */
export class AgentToolbox implements Toolbox {
  readonly #sources: ToolSources;

  constructor(sources: ToolSources) {
    this.#sources = sources;
  }

  async toolsOf(
    agent: Agent,
    options?: { signal: AbortSignal },
  ): Promise<ReadonlyMap<string, Tool>> {
    const { builtin, always, mcp, cli } = this.#sources;
    const servers = agent.tools.filter((tool) => tool.type === 'mcp');
    const declared = agent.tools.filter((tool) => tool.type === 'cli');
    const tools = [
      ...always(agent),
      ...agent.tools.flatMap((tool) =>
        tool.type === 'builtin'
          ? builtin(tool.name, agent).map((each) => withInterrupt(each, tool.onInterrupt))
          : [],
      ),
      ...(await cli(agent, declared)),
      ...(await mcp(agent, servers, options?.signal)),
    ];
    const byName = new Map<string, Tool>();
    for (const tool of tools) if (!byName.has(tool.name)) byName.set(tool.name, tool);
    return byName;
  }
}

/** A built-in tool, but for what an agent says becomes of its calls that are cut. */
function withInterrupt(tool: Tool, said: OnInterrupt | undefined): Tool {
  return said === undefined ? tool : { ...tool, onInterrupt: onInterruptOf(tool.effect, said) };
}
