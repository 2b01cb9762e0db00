/**
 * What each agent's tools of others looked like when they were accepted: fingerprints by the tool's
 * full name, `server:tool`.
 */
export interface ToolPins {
  /** @throws DuragentError `storage_failed` or `config_invalid` when they cannot be read. */
  read(agent: string): Promise<ReadonlyMap<string, string>>;
  /**
   * Remembers some; others of the agent stay. Durable when resolved.
   * @throws DuragentError as `read`, and `queue_full` beyond 4096 of one agent: then none are remembered.
   */
  pin(agent: string, fingerprints: ReadonlyMap<string, string>): Promise<void>;
}

/** How many are remembered of one agent. */
export const MAX_PINS = 4096;
