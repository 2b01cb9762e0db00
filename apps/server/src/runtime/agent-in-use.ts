import type { Agent } from '../core/agent.ts';
import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { SessionJournal } from './session-journal.ts';

/** The agent of one session: as its files were when they were last read, and as the open turn keeps it. */
export class AgentInUse {
  readonly #agents: AgentCatalog;
  readonly #journal: Pick<SessionJournal, 'now'>;
  #latest: Agent | null = null;
  #ofTurn: Agent | null = null;

  constructor(agents: AgentCatalog, journal: Pick<SessionJournal, 'now'>) {
    this.#agents = agents;
    this.#journal = journal;
  }

  /** The agent as its files are, for the next turn; null: they were never there. */
  get latest(): Agent | null {
    return this.#latest;
  }

  /** The agent of the open turn, which keeps it to its end. */
  get ofTurn(): Agent | null {
    return this.#ofTurn;
  }

  /** Takes the agent as its files are now; one that is gone stays as it was last seen. */
  async read(name: string = this.#journal.now.state.agent): Promise<void> {
    this.#latest = (await this.#agents.get(name)) ?? this.#latest;
    if (!this.#journal.now.state.turn || !this.#ofTurn) this.#ofTurn = this.#latest;
  }

  /** A turn has begun: it keeps the agent as it is. */
  turnStarted(): void {
    this.#ofTurn = this.#latest;
  }
}
