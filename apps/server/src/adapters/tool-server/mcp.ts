import type { ToolServers } from '../../ports/tool-server.ts';
import { defaultLimits, type ToolServerLimits } from './limits.ts';
import type { ConnectionDeps } from './mcp-connection.ts';
import { McpServer } from './mcp-server.ts';

export type McpOptions = Omit<ConnectionDeps, 'limits' | 'fetch'> & {
  limits?: Partial<ToolServerLimits>;
  /** For tests. */
  fetch?: ConnectionDeps['fetch'];
};

/** Servers that speak the Model Context Protocol over stdio or Streamable HTTP. */
export function mcpServers(options: McpOptions): ToolServers {
  const deps: ConnectionDeps = {
    fetch,
    ...options,
    limits: { ...defaultLimits, ...options.limits },
  };
  return { open: (spec) => new McpServer(spec, deps) };
}
