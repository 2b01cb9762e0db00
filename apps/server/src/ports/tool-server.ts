/** Where a server of tools is: a program that is started for it, or an address. */
export type ToolServerPlace =
  | { type: 'command'; argv: readonly string[]; cwd: string; env: Readonly<Record<string, string>> }
  /** `headers` are sent with every request; like the URL itself they may hold secrets. */
  | { type: 'url'; url: string; headers: Readonly<Record<string, string>> };

/** One server of one agent. */
export interface ToolServerSpec {
  agent: string;
  /** Its name among the agent's servers. */
  name: string;
  place: ToolServerPlace;
}

/** A tool as its server describes it, within bounds: what does not fit is left out. */
export interface ServerTool {
  /** 1 to 64 letters, digits, `_`, `.` and `-`; the server's only one of this name. */
  name: string;
  description: string;
  /** A JSON Schema of an object. */
  parameters: Record<string, unknown>;
  /** What the server says of it, which nobody has checked. */
  readOnly: boolean;
  idempotent: boolean;
}

/** The tools that are known, and why it may be not all of them, in words; null: it is. */
export interface ToolListing {
  tools: readonly ServerTool[];
  fault: string | null;
}

/** How a call ended. `content` is for the model: at most 1 MiB, and `truncated` where it had more. */
export interface ToolCallResult {
  outcome: 'ok' | 'error' | 'timed_out' | 'cancelled';
  content: string;
  truncated: boolean;
}

/**
 * A server of tools. It is started when it is first needed, again when it is needed after it has
 * ended (each time later, if it does so all the time), and ended when nobody calls it. Whatever it
 * does, nothing here throws.
 */
export interface ToolServer {
  /**
   * Its tools: asked for once, and again after it said that they changed or was started anew.
   * `current`: it is started for that where it does not run; without it, what was known before
   * counts then. Where they cannot be had those known before are given, with the fault; so too
   * soon after the signal aborts.
   */
  tools(options: { signal: AbortSignal; current?: boolean }): Promise<ToolListing>;
  /**
   * Calls a tool. Ends in `cancelled` at once when the signal aborts, the server is told; and in
   * `timed_out` when nothing, no progress either, came for `timeoutMs` (default 120 s), at the
   * latest after five times that. A call whose server has ended is an error, and is not repeated:
   * it may have done its work.
   */
  call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    options: {
      signal: AbortSignal;
      timeoutMs?: number;
      onProgress?: (text: string) => void;
    },
  ): Promise<ToolCallResult>;
  /** Ends it for good, and the calls that are open. When it resolves nothing of it is left. */
  close(): Promise<void>;
}

/** Opens servers of tools. */
export interface ToolServers {
  /** Starts nothing yet. */
  open(spec: ToolServerSpec): ToolServer;
}
