import { createHash } from 'node:crypto';
import { type ToolCall, visible } from '@duragent/protocol';
import type { Agent } from '../../core/agent.ts';
import type { PolicyCall } from '../../core/policy/policy-call.ts';
import type { PolicyVerdict } from '../../core/policy/evaluate-policy.ts';
import type { Effect } from '../../core/session/next.ts';
import type { CallVerdict, SessionInput } from '../../core/session/session-input.ts';
import type { ConversationWindow } from '../../core/session/window.ts';
import { isTainted } from '../../core/taint.ts';
import { utf8Length } from '../../core/utf8.ts';
import type { CallPlan, Tool, Toolbox, ToolCaller, ToolResult } from '../../ports/tool.ts';
import type { EffectScope } from '../effects.ts';

/** What a result may take in its record, in bytes of JSON. */
const MAX_RESULT_BYTES = 512 * 1024;
const MAX_DETAILS_BYTES = 64 * 1024;
/** The longest call, in characters, that people are asked about: nobody reads more. */
const MAX_SHOWN = 32 * 1024;
/** What people are told of a call that a rule wants them to know of, in characters. */
const MAX_TOLD = 1000;
/** What is longer may not fit into a message of a chat, and goes along as a file. */
const SHORT = 1_200;

type JudgeCall = Extract<Effect, { type: 'judge_call' }>;
type RunTool = Extract<Effect, { type: 'run_tool' }>;

export interface CallDeps {
  toolbox: Toolbox;
  /** What the policies say about a call. Never throws: what cannot be read denies. */
  judge: (agent: Agent, call: PolicyCall) => Promise<PolicyVerdict>;
  /** Keeps a text as a file of a session. @returns its artifact's id. */
  keepFile: (session: string, name: string, text: string) => Promise<string>;
}

/** A call with all that is needed to plan and run it. */
interface ReadyCall {
  tool: Tool;
  args: Record<string, unknown>;
  caller: ToolCaller;
  plan: CallPlan;
}

/** Judges and runs the tool calls of sessions. */
export class CallRunner {
  readonly #deps: CallDeps;

  constructor(deps: CallDeps) {
    this.#deps = deps;
  }

  /** Asks the policy about a call. */
  async judge(effect: JudgeCall, scope: EffectScope): Promise<SessionInput> {
    const { turn, call } = effect;
    return { type: 'call_judged', turn, call, verdict: await this.#verdict(effect, scope) };
  }

  async #verdict(effect: JudgeCall, scope: EffectScope): Promise<CallVerdict> {
    const ready = await this.#prepare(effect, scope);
    if ('fault' in ready) return { kind: 'refuse', outcome: 'error', content: capped(ready.fault) };
    const { plan, caller, tool } = ready;
    const verdict = await this.#deps.judge(caller.agent, plan.policy);
    if (verdict.decision === 'deny') {
      const content = `This is not allowed: ${verdict.reason}. It was not run; do not try the same by other means.`;
      const notify = verdict.notify ? told('🚫', ready) : null;
      return { kind: 'refuse', outcome: 'denied', content, notify };
    }
    if (plan.question) return { kind: 'ask', ...plan.question };
    const hash = hashOf(ready);
    const why = verdict.decision === 'ask' ? verdict.reason : await this.#whyAsk(ready, scope);
    if (why === null) {
      const notify = verdict.notify ? told('🔔', ready) : null;
      return { kind: 'run', hash, notify };
    }
    if (plan.shown.length > MAX_SHOWN) {
      const content = `A person has to allow this, and it is too long to be read (${plan.shown.length} characters, at most ${MAX_SHOWN}). Write it to a file first, or do less at once.`;
      return { kind: 'refuse', outcome: 'denied', content };
    }
    const { session } = caller;
    return {
      kind: 'approve',
      hash,
      tool: tool.name,
      shown: plan.shown,
      ...(plan.command ? { command: copyCommand(plan.command) } : {}),
      reason: why,
      // What has to be asked whatever the rules say would be asked again.
      always: verdict.decision === 'ask' ? verdict.always : null,
      ...(plan.shown.length > SHORT
        ? { file: await this.#deps.keepFile(session, `${tool.name}.txt`, plan.shown) }
        : {}),
    };
  }

  /** Why a call that the policy allows is asked about all the same; null: it is not. */
  async #whyAsk({ plan, caller }: ReadyCall, scope: EffectScope): Promise<string | null> {
    if (plan.mustAsk !== undefined) return plan.mustAsk;
    if (!plan.writesTrusted && !plan.speaksUnasked) return null;
    const tools = await this.#deps.toolbox.toolsOf(caller.agent);
    const isIt = isTainted(scope.current().window.events, {
      owners: caller.agent.access.owners,
      isTrusted: (name) => tools.get(name)?.isTrusted === true,
    });
    if (!isIt) return null;
    const what = plan.writesTrusted ? 'this would be trusted later' : 'this may be theirs';
    return `this conversation has words of others in it, and ${what}`;
  }

  /** Runs a call that was started. What was allowed is what is run: another plan is refused. */
  async run(effect: RunTool, scope: EffectScope, signal: AbortSignal): Promise<SessionInput> {
    const { turn, call } = effect;
    const end = (result: ToolResult | Pick<ToolResult, 'content'>, outcome: ToolOutcome) => ({
      type: 'tool_result' as const,
      turn,
      call,
      outcome,
      content: capped(result.content),
      details: 'details' in result ? cappedDetails(result.details) : {},
    });
    const ready = await this.#prepare(effect, scope);
    if ('fault' in ready) return end({ content: ready.fault }, 'error');
    if (effect.hash !== undefined && effect.hash !== hashOf(ready)) {
      return end({ content: CHANGED }, 'denied');
    }
    // A rule may have come while it waited for a person; a file that broke meanwhile is no rule.
    const now = await this.#deps.judge(ready.caller.agent, ready.plan.policy);
    if (now.decision === 'deny' && !now.isFault) {
      return end(
        { content: `This is not allowed any more: ${now.reason}. It was not run.` },
        'denied',
      );
    }
    let offset = 0;
    try {
      const ran = await ready.tool.run(ready.args, {
        signal,
        caller: ready.caller,
        onOutput: (text) => {
          scope.show({ type: 'tool_output', turn, call, offset, text });
          offset += text.length;
        },
        onProgress: (progress) => scope.show({ type: 'progress', turn, call, ...progress }),
      });
      return end(ran, ran.outcome);
    } catch (error) {
      return end({ content: error instanceof Error ? error.message : String(error) }, 'error');
    }
  }

  async #prepare(
    { turn, call }: { turn: string; call: string },
    scope: EffectScope,
  ): Promise<ReadyCall | { fault: string }> {
    const { state, window } = scope.current();
    const asked = findCall(window, call);
    const { agent } = scope;
    if (!agent) return { fault: `The agent ${scope.agentName} cannot be loaded any more.` };
    const tools = await this.#deps.toolbox.toolsOf(agent);
    const tool = asked && tools.get(asked.name);
    if (!asked || !tool) return { fault: noSuchTool(asked?.name ?? call, tools) };
    const args = asked.arguments;
    if (!isObject(args)) {
      return { fault: 'The arguments are not a JSON object; call the tool again with one.' };
    }
    const caller = { session: state.session, turn, call, agent };
    const plan = tool.plan(args, caller);
    return 'fault' in plan ? plan : { tool, args, caller, plan };
  }
}

type ToolOutcome = ToolResult['outcome'] | 'denied';

const CHANGED =
  'What this call would do is no longer what was allowed, so it was not run. Ask for it again.';

function noSuchTool(name: string, tools: ReadonlyMap<string, Tool>): string {
  const known = [...tools.keys()].sort().join(', ');
  const there = known === '' ? 'This agent has no tools.' : `There are: ${known}.`;
  return `There is no tool named ${name.slice(0, 100)}. ${there}`;
}

/** What people are told of a call, none of whose lines looks like one of ours. */
function told(sign: string, { tool, plan }: ReadyCall): string {
  const shown = visible(plan.shown.slice(0, MAX_TOLD)).replace(/^/gm, '│ ');
  return `${sign} ${visible(tool.name)}\n${shown}`;
}

/** The call with its arguments, as the model asked for it. */
function findCall(window: ConversationWindow, call: string): ToolCall | undefined {
  for (let i = window.events.length - 1; i >= 0; i -= 1) {
    const event = window.events[i];
    if (event?.type !== 'assistant_message') continue;
    const asked = event.tool_calls.find((one) => one.call === call);
    if (asked) return asked;
  }
  return undefined;
}

/** SHA-256 over all that a call would do, in hex. */
function hashOf({ tool, args, plan }: ReadyCall): string {
  const { shown, command } = plan;
  const whole = JSON.stringify([tool.name, args, shown, command && copyCommand(command)]);
  return createHash('sha256').update(whole).digest('hex');
}

function copyCommand({ argv, cwd, env }: NonNullable<CallPlan['command']>) {
  return { argv: [...argv], cwd, env: { ...env } };
}

/** A result that fits into its record, with its beginning and its end. */
function capped(text: string): string {
  if (utf8Length(JSON.stringify(text)) <= MAX_RESULT_BYTES) return text;
  // A character takes at most six bytes there.
  const half = Math.floor(MAX_RESULT_BYTES / 12) - 100;
  const left = text.length - 2 * half;
  const [head, tail] = [text.slice(0, half), text.slice(-half)];
  return `${head.toWellFormed()}\n[${left} characters are left out here.]\n${tail.toWellFormed()}`;
}

/** What people may see beside a result, where it is no more than a record has room for. */
function cappedDetails(details: Record<string, unknown> = {}): Record<string, unknown> {
  return utf8Length(JSON.stringify(details)) <= MAX_DETAILS_BYTES ? details : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
