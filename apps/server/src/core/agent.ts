import type { OnDisconnect, OnInterrupt, ToolEffect } from '@duragent/protocol';
import type { AgentAccess } from './agent-access.ts';
import type { BudgetLimits } from './budget/limits.ts';
import type { Skill } from './skills.ts';

export type ProviderName =
  | 'anthropic'
  | 'openai'
  | 'openrouter'
  | 'ollama'
  | 'openai-compatible'
  | 'echo'
  | 'script'
  | 'auto';

/** One model of a provider, as an agent names it. */
export interface ModelRef {
  provider: ProviderName;
  /** The provider's name of the model; for `script` the path of its file; empty for `auto` and `echo`. */
  name: string;
  /** The API's root, where it is not the provider's own. */
  baseUrl: string | null;
  /** Sent only when given; some models refuse it. */
  temperature: number | null;
  /** The model's window in tokens; null: the model family's. */
  maxInputTokens: number | null;
  maxOutputTokens: number;
}

/** A fault in a file that people write, with its place (line and column from 1). */
export interface FileFault {
  file: string;
  line: number;
  column: number;
  message: string;
}

/** A tool that an agent may use, as its file names it. */
export type AgentTool = {
  /** What becomes of its calls that a stop of the server cuts; absent: as the tool says itself. */
  onInterrupt?: OnInterrupt;
} & (
  | { type: 'builtin'; name: BuiltinTool }
  | {
      type: 'cli';
      name: string;
      /** Relative to the agent's folder. */
      command: string;
      description: string;
      readme: string | null;
      effect: ToolEffect;
    }
  | {
      type: 'mcp';
      name: string;
      server: { command: readonly string[] } | { url: string };
      /** Whether its word about its tools' effects is believed. */
      trusted: boolean;
    }
);

/** The built-in tools; each may give a model several. */
export const builtinTools = [
  'ask_user',
  'artifact',
  'background_process',
  'bash',
  'memory',
  'notify_user',
  'reload_tools',
  'report_progress',
  'schedule',
  'session',
  'web',
] as const;
export type BuiltinTool = (typeof builtinTools)[number];

/** Those whose calls have effects that must not be repeated. */
export const effectfulBuiltins: ReadonlySet<BuiltinTool> = new Set([
  'background_process',
  'bash',
  'schedule',
]);

/** An agent as its files define it, complete and checked. */
export interface Agent {
  name: string;
  description: string;
  version: string;
  labels: Record<string, string>;
  /** Changes whenever anything that the files say changes. */
  hash: string;
  /** Absolute path of the agent's folder. */
  home: string;
  /** The agent's model, then its fallbacks in order. */
  models: [ModelRef, ...ModelRef[]];
  /** The three texts with their templates unfilled; empty where there is none. */
  soul: string;
  systemPrompt: string;
  instructions: string;
  /** What stands in the files of `directives/`, by name; empty where there is none. */
  directives: string;
  greeting: string | null;
  session: {
    /** null: the server's setting. */
    onDisconnect: OnDisconnect | null;
    /** How long a turn may work with nobody attached, in ms; 0: for ever; null: the server's setting. */
    maxBackgroundMs: number | null;
    maxToolIterations: number;
    turnTimeoutMs: number | null;
    maxHistoryTokens: number;
    maxToolResultTokens: number;
    /** Which part of a result beyond that stays. */
    toolResultTruncation: 'head' | 'tail' | 'both';
    /** How many results of a history that grows too long stay whole, of the first and of the last. */
    toolResultKeepFirst: number;
    toolResultKeepLast: number;
    /** Whether the model is given a summary of what is left out. */
    summarize: boolean;
  };
  /** What it may spend; the server's budgets hold as well. */
  budget: BudgetLimits;
  access: AgentAccess;
  tools: readonly AgentTool[];
  /** By name. */
  skills: readonly Skill[];
}

/** An agent whose files do not load. */
export interface BrokenAgent {
  name: string;
  faults: FileFault[];
}
