import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 10;
const PATIENCE_MS = 20_000;

/**
 * Asks again and again until the answer is truthy.
 * @returns the answer.
 * @throws Error naming `what`, with the last answer or error, when that took too long.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    let last: unknown;
    try {
      const answer = await probe();
      if (answer) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${patienceMs} ms: ${what}`, { cause: last });
    }
    await delay(POLL_MS);
  }
}
