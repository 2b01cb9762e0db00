import type { Agent } from '../../core/agent.ts';
import type { Tool, Toolbox } from '../../ports/tool.ts';
import type { CallDeps } from './call-runner.ts';

const NONE: ReadonlyMap<string, Tool> = new Map();

/** Tools that are made when the first agent needs one: a server whose agents only talk never loads them. */
export class LazyTools<T extends { calls: CallDeps }> implements CallDeps {
  readonly #make: () => Promise<T>;
  readonly #hasFound: (agent: Agent) => boolean;
  #made: Promise<T> | null = null;

  /** @param hasFound whether there are tools that an agent has without naming them. */
  constructor(make: () => Promise<T>, hasFound: (agent: Agent) => boolean) {
    this.#make = make;
    this.#hasFound = hasFound;
  }

  /** What was made; null: nothing needed it. */
  get made(): Promise<T> | null {
    return this.#made;
  }

  /** All of it. Rejects with what making it rejects with. */
  open(): Promise<T> {
    this.#made ??= this.#make();
    return this.#made;
  }

  readonly toolbox: Toolbox = {
    toolsOf: async (agent: Agent, options?: { signal: AbortSignal }) =>
      agent.tools.length === 0 && agent.skills.length === 0 && !this.#hasFound(agent)
        ? NONE
        : (await this.open()).calls.toolbox.toolsOf(agent, options),
  };

  readonly judge: CallDeps['judge'] = async (...call) => (await this.open()).calls.judge(...call);

  readonly keepFile: CallDeps['keepFile'] = async (...file) =>
    (await this.open()).calls.keepFile(...file);
}
