import type { OnInterrupt, ToolEffect } from '@duragent/protocol';
import type { Agent } from '../core/agent.ts';
import type { PolicyCall } from '../core/policy/policy-call.ts';
import type { ToolSpec } from './language-model.ts';

/** How a tool's run ended; `content` is for the model, `details` for people. */
export interface ToolResult {
  outcome: 'ok' | 'error' | 'timed_out' | 'cancelled';
  content: string;
  details?: Record<string, unknown>;
}

/** How far a turn is, in words, and in percent of the whole where that is known. */
export interface Progress {
  text: string;
  percent?: number;
}

/** Whose call it is. */
export interface ToolCaller {
  session: string;
  turn: string;
  call: string;
  agent: Agent;
}

/**
 * What a call would do, exactly: what the policy judges, people are shown, and an approval is bound
 * to. The same arguments of the same caller give the same plan, or the approval no longer holds.
 */
export interface CallPlan {
  policy: PolicyCall;
  /** The whole of it in words, as a person is shown it: nothing that matters is left out. */
  shown: string;
  /** The argument list, the working directory and the changes to the environment; null where no process is started. */
  command: { argv: readonly string[]; cwd: string; env: Readonly<Record<string, string>> } | null;
  /** Why a person has to allow it whatever the policy allows; never what it denies. */
  mustAsk?: string;
  /** It writes what other turns will trust: after a turn has read what others wrote, a person has to allow it. */
  writesTrusted?: boolean;
  /** It tells people something unasked: after a turn has read what others wrote, a person has to allow it. */
  speaksUnasked?: boolean;
  /** It is no work but a question to people, and their answer is its result. */
  question?: PeopleQuestion;
}

export interface PeopleQuestion {
  text: string;
  /** Absent: any text is an answer. */
  choices?: string[];
  /** What holds when nobody answers in time. */
  default?: string;
  /** null: it waits for ever. */
  timeoutMs: number | null;
}

/** The tools of agents. */
export interface Toolbox {
  /**
   * Those that an agent may use now, by name. When the signal aborts it gives soon those that are
   * known. Rejects only where none could work (a sandbox that is configured and does not).
   */
  toolsOf(agent: Agent, options?: { signal: AbortSignal }): Promise<ReadonlyMap<string, Tool>>;
}

/** Something an agent can do. */
export interface Tool extends ToolSpec {
  effect: ToolEffect;
  onInterrupt: OnInterrupt;
  /** Whether what it says is only the server's or a person's own word: it taints no turn. */
  isTrusted?: boolean;
  /** @returns what a call would do, or what is wrong with its arguments, for the model. Has no effect. */
  plan(args: Record<string, unknown>, caller: ToolCaller): CallPlan | { fault: string };
  /**
   * Runs one call, already durable. Ends soon after the signal aborts; `onOutput` shows output as it
   * comes, `onProgress` how far it is.
   */
  run(
    args: Record<string, unknown>,
    options: {
      signal: AbortSignal;
      onOutput: (text: string) => void;
      onProgress?: (progress: Progress) => void;
      caller: ToolCaller;
    },
  ): Promise<ToolResult>;
}
