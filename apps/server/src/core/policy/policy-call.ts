/** A tool call as the policy sees it. */
export type PolicyCall =
  /** A command line, as the model wrote it. */
  | {
      kind: 'bash';
      command: string;
      /** The built-in tool that runs it, where that is not `bash`. */
      tool?: string;
    }
  | {
      kind: 'builtin';
      /** `web` */
      name: string;
      /** `fetch`; null where the tool does one thing only. */
      action: string | null;
      args: Readonly<Record<string, unknown>>;
      /** Whether it can do nothing outside of what the agent owns: mode `ask` lets it pass. */
      harmless: boolean;
      /** Whether it types for something that runs, maybe a shell: a rule would allow any input, so none is offered. */
      isInput?: true;
    }
  | { kind: 'cli'; name: string; args: Readonly<Record<string, unknown>> }
  | { kind: 'mcp'; server: string; name: string; args: Readonly<Record<string, unknown>> };
