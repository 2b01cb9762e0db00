import type { Agent } from '../core/agent.ts';
import { type Surroundings, systemText } from '../core/context/system-text.ts';
import type { SessionState } from '../core/session/state.ts';
import type { ConversationWindow } from '../core/session/window.ts';
import { estimateTokens } from '../core/utf8.ts';
import type { Clock } from '../ports/clock.ts';

/** Sessions whose turn's system text is remembered; of one more, the files are read again. */
const MAX_REMEMBERED = 256;

interface Prompt {
  system: string;
  /** Estimated. */
  tokens: number;
}

/** The system texts of the turns in work: made at a turn's first call, and the same at each after it. */
export class TurnPrompts {
  readonly #surroundings: (agent: Agent) => Promise<Surroundings>;
  readonly #timezone: string | null;
  readonly #clock: Clock;
  /** By session, least recently used first. */
  readonly #known = new Map<string, { turn: string; prompt: Promise<Prompt> }>();

  constructor(deps: {
    surroundings: (agent: Agent) => Promise<Surroundings>;
    timezone: string | null;
    clock: Clock;
  }) {
    this.#surroundings = deps.surroundings;
    this.#timezone = deps.timezone;
    this.#clock = deps.clock;
  }

  /** Rejects with what reading the surroundings rejects with; the next call tries again. */
  of(
    turn: string,
    agent: Agent,
    now: { state: SessionState; window: ConversationWindow },
  ): Promise<Prompt> {
    const { session } = now.state;
    const known = this.#known.get(session);
    this.#known.delete(session);
    const entry =
      known?.turn === turn ? known : { turn, prompt: this.#make(turn, agent, now.window) };
    this.#known.set(session, entry);
    entry.prompt.catch(() => {
      if (this.#known.get(session) === entry) this.#known.delete(session);
    });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_REMEMBERED) break;
      this.#known.delete(oldest);
    }
    return entry.prompt;
  }

  async #make(turn: string, agent: Agent, window: ConversationWindow): Promise<Prompt> {
    const started = window.events.findLast(
      (event) => event.type === 'turn_started' && event.turn === turn,
    );
    const startedAt = started?.at ?? new Date(this.#clock.now()).toISOString();
    const surroundings = await this.#surroundings(agent);
    const system = systemText(agent, { startedAt, timezone: this.#timezone }, surroundings);
    return { system, tokens: estimateTokens(system) };
  }
}
