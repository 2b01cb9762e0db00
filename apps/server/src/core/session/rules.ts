import type {
  OnDisconnect,
  OnInterrupt,
  QueueMode,
  ToolCall,
  ToolEffect,
  TurnLimits,
} from '@duragent/protocol';

/** The settings and the moment a decision is made with; stamped by the actor. */
export interface Rules {
  /** Wall clock, ms since 1970. */
  now: number;
  epoch: number;
  agentHash: string;
  limits: TurnLimits;
  queue: QueueMode;
  /** The agent's setting, else the server's; the session's own goes first. */
  onDisconnect: OnDisconnect;
  tools: ReadonlyMap<string, { effect: ToolEffect; onInterrupt: OnInterrupt }>;
  /** The tool calls of the last assistant message: their arguments, which the state does not hold. */
  calls: readonly ToolCall[];
  /** The turn that everyone left while it worked, 5 s ago or more; null: somebody is there, or nobody was. */
  leftTurn: string | null;
}
