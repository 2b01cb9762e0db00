import { SeededRandom } from './random.ts';

/** What goes wrong. */
export type Fault =
  /** 429, before anything is done. */
  | { type: 'retry_after'; seconds: number }
  /** An error of the server; with `processed` after the call was carried out. `html`: as a proxy writes it. */
  | { type: 'status'; code: number; html?: boolean; processed?: boolean }
  /** The connection ends: before the call is carried out, after it (the answer is lost), or within the answer's body. */
  | { type: 'cut'; when: 'before' | 'after' | 'body' }
  /** The call is carried out at once and answered that much later. */
  | { type: 'slow'; ms: number }
  /** `getUpdates`: the last `back` updates that went out go out again. */
  | { type: 'redeliver'; back: number }
  /** `getUpdates`: the updates of the answer stand in another order. */
  | { type: 'reorder' };

/** Which calls a fault is for. Without `nth`, `every` and `probability`: all of them. */
export interface FaultRule {
  fault: Fault;
  /** Bot API methods, any case; default: all. */
  methods?: string[];
  chat_id?: number;
  /** The n-th of these calls since the rule was made, from 1. */
  nth?: number;
  /** Every n-th of them. */
  every?: number;
  /** Each of them with this chance, drawn with `seed` (default: the simulator's). */
  probability?: number;
  seed?: number;
  /** Goes wrong at most that often. */
  times?: number;
}

export interface FaultState extends FaultRule {
  id: number;
  /** How many calls it was for, and how many went wrong. */
  seen: number;
  fired: number;
}

const MAX_RULES = 1000;

/** The script of what goes wrong: rules, asked for every call. */
export class FaultScript {
  readonly #seed: number;
  readonly #rules = new Map<number, { state: FaultState; random: SeededRandom }>();
  #nextId = 1;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** @returns its id, to take it off again. */
  add(rule: FaultRule): number {
    if (this.#rules.size >= MAX_RULES) {
      throw new RangeError(`there are ${MAX_RULES} faults already: clear them first`);
    }
    const id = this.#nextId++;
    const random = new SeededRandom(rule.seed ?? this.#seed + id);
    this.#rules.set(id, { state: { ...rule, id, seen: 0, fired: 0 }, random });
    return id;
  }

  /** Without an id all of them. */
  remove(id?: number): void {
    if (id === undefined) this.#rules.clear();
    else this.#rules.delete(id);
  }

  get rules(): FaultState[] {
    return [...this.#rules.values()].map(({ state }) => ({ ...state }));
  }

  /** Counts a call. @returns what goes wrong with it. */
  next(method: string, chatId: number | undefined): Fault[] {
    const name = method.toLowerCase();
    const faults: Fault[] = [];
    for (const { state, random } of this.#rules.values()) {
      const { methods, chat_id: only, nth, every, probability, times } = state;
      if (methods !== undefined && !methods.some((it) => it.toLowerCase() === name)) continue;
      if (only !== undefined && only !== chatId) continue;
      state.seen++;
      // Drawn for every call, so that one rule's luck does not depend on what else is asked.
      const isDrawn = probability === undefined || random.next() < probability;
      const isTurn =
        (nth === undefined || state.seen === nth) &&
        (every === undefined || state.seen % every === 0);
      if (!isDrawn || !isTurn || (times !== undefined && state.fired >= times)) continue;
      state.fired++;
      faults.push(state.fault);
    }
    return faults;
  }
}
