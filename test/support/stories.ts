import { expect, test } from 'vitest';

/** A story is told up to each kill; what was killed runs again when it goes on. */
export type Story<Kill extends string> = () => AsyncGenerator<Kill, void>;

/**
 * Tells stories at once, each a test of its own, and kills what they yield when all that are not
 * over have come so far: one kill serves all. They yield the same kills in the same order; one
 * that is over, or failed, is not waited for.
 */
export class Stories<Kill extends string> {
  readonly #stories: Readonly<Record<string, Story<Kill>>>;
  readonly #ends = new Map<string, { error?: unknown }>();

  constructor(stories: Readonly<Record<string, Story<Kill>>>) {
    this.#stories = stories;
  }

  /** Tells all of them to their ends. Rejects only when a kill does. */
  async tell(kill: (what: Kill) => Promise<void>): Promise<void> {
    let going = Object.entries(this.#stories).map(([name, story]) => ({ name, told: story() }));
    while (going.length > 0) {
      const steps = await Promise.all(
        going.map(async ({ name, told }) => {
          try {
            const step = await told.next();
            if (step.done === true) this.#ends.set(name, {});
            return step.done === true ? null : step.value;
          } catch (error) {
            this.#ends.set(name, { error });
            return null;
          }
        }),
      );
      going = going.filter(({ name }) => !this.#ends.has(name));
      const kills = new Set(steps.filter((step) => step !== null));
      if (kills.size > 1)
        throw new Error(`the stories ask for different kills: ${[...kills].join()}`);
      for (const what of kills) await kill(what);
    }
  }

  /** One test for each story. They are told by then. */
  tests(): void {
    for (const name of Object.keys(this.#stories)) {
      test(name, () => {
        const end = this.#ends.get(name);
        expect(end).toBeDefined();
        if (end && 'error' in end) throw end.error;
      });
    }
  }
}
