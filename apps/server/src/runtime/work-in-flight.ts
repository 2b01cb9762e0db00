import type { SessionInput } from '../core/session/session-input.ts';
import type { Effect } from '../core/session/next.ts';
import type { EffectRunner, EffectScope } from './effects.ts';

/** What an effect may see and show, but for what is said of its own work. */
export type WorkScope = Omit<EffectScope, 'queued' | 'busy'>;

interface Work {
  controller: AbortController;
  isQueued: boolean;
  isBusy: boolean;
}

/**
 * The effects of one session that are being done. `reconcile` makes them the ones that are owed:
 * it starts what is owed and not in flight, and aborts what is in flight and no longer owed.
 */
export class WorkInFlight {
  readonly #runner: EffectRunner;
  readonly #works = new Map<string, Work>();
  readonly #beforeInput: () => Promise<void>;
  readonly #onInput: (input: SessionInput | null) => void;
  readonly #onError: (effect: Effect, error: unknown) => void;

  /**
   * `before` is awaited when an effect has ended and still counts as in flight. `input` takes the input that an effect ended in, in the same step in which the effect left
   * flight (split in two, work would begin twice); null: it was aborted and ended in nothing.
   */
  constructor(
    runner: EffectRunner,
    on: {
      before: () => Promise<void>;
      input: (input: SessionInput | null) => void;
      error: (effect: Effect, error: unknown) => void;
    },
  ) {
    this.#runner = runner;
    this.#beforeInput = on.before;
    this.#onInput = on.input;
    this.#onError = on.error;
  }

  get size(): number {
    return this.#works.size;
  }

  /** Whether one of them is anything but a summary, or a wait for a time or for a chat that cannot be reached. */
  get isBusy(): boolean {
    return [...this.#works.values()].some((work) => work.isBusy);
  }

  /** Whether one of them waits for a place. */
  get isQueued(): boolean {
    return [...this.#works.values()].some((work) => work.isQueued);
  }

  /**
   * @param owed what the state owes, durable or not.
   * @param isDurable whether the durable state owes the work with this key.
   * @param scope what an effect that begins now may see.
   */
  reconcile(
    owed: readonly Effect[],
    isDurable: (key: string) => boolean,
    scope: () => WorkScope,
  ): void {
    for (const [key, work] of this.#works) {
      if (!owed.some((effect) => effect.key === key)) work.controller.abort();
    }
    for (const effect of owed) {
      if (this.#works.has(effect.key)) continue;
      // A model call has no effect on the world, so it may begin while its trigger is written; and a
      // delivery records that it starts, behind what it delivers, before it sends.
      const mayBegin =
        effect.type === 'call_model' || effect.type === 'deliver' || isDurable(effect.key);
      if (mayBegin) this.#begin(effect, scope());
    }
  }

  abortAll(): void {
    for (const work of this.#works.values()) work.controller.abort();
  }

  #begin(effect: Effect, scope: WorkScope): void {
    // A summary is begun again by the next server.
    const isBusy = !['wait_until', 'deliver', 'summarize'].includes(effect.type);
    const work: Work = { controller: new AbortController(), isQueued: false, isBusy };
    const { signal } = work.controller;
    this.#works.set(effect.key, work);
    const queued = (isQueued: boolean): void => {
      work.isQueued = isQueued;
    };
    const busy = (): void => {
      work.isBusy = true;
    };
    const finish = (input: SessionInput | null): void => {
      this.#works.delete(effect.key);
      this.#onInput(signal.aborted ? null : input);
    };
    const run = async (): Promise<SessionInput> => {
      const input = await this.#runner.run(effect, { ...scope, queued, busy }, signal);
      await this.#beforeInput();
      return input;
    };
    run().then(finish, (error: unknown) => {
      if (!signal.aborted) this.#onError(effect, error);
      finish(failureOf(effect, work.isBusy));
    });
  }
}

/** The input that an effect ends in when the server itself failed at it. */
function failureOf(effect: Effect, wasBusy: boolean): SessionInput {
  const message = 'Something went wrong inside the server; its log says what.';
  switch (effect.type) {
    case 'call_model':
      return {
        type: 'model_failed',
        turn: effect.turn,
        step: effect.step,
        attempt: effect.attempt,
        model: '',
        error: { code: 'internal', message },
        retryable: false,
      };
    case 'judge_call': {
      const verdict = { kind: 'refuse', outcome: 'error', content: message } as const;
      return { type: 'call_judged', turn: effect.turn, call: effect.call, verdict };
    }
    case 'run_tool':
      return {
        type: 'tool_result',
        turn: effect.turn,
        call: effect.call,
        outcome: 'error',
        content: message,
        details: {},
      };
    case 'summarize':
      return {
        type: 'summary_failed',
        up_to_seq: effect.upTo,
        model: '',
        error: { code: 'internal', message },
      };
    case 'wait_until':
      return effect.input;
    case 'deliver': {
      const { out, part, attempt } = effect.delivery;
      // What had not begun was not sent; of the rest nothing is known here.
      const error = { code: 'internal', message };
      const outcome = wasBusy ? 'uncertain' : 'failed';
      return { type: 'deliver_end', out, part, attempt, outcome, error };
    }
  }
}
