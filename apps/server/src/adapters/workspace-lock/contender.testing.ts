import { DuragentError } from '@duragent/protocol';
import { lockWorkspace, type WorkspaceLock } from './filesystem.ts';

/**
 * A process that tries to lock a directory and holds it. It says `ready`, and for each line
 * `<time> <rounds> <tries at once>` on stdin it waits until that time and answers with one line.
 */
export interface Outcome {
  epochs: number[];
  /** Messages of the `locked` errors, without repetition. */
  locked: string[];
  tries: number;
  others: string[];
  /** The longest that a round took. */
  slowestMs: number;
}

const directory = process.argv[2] ?? '';
const kept: WorkspaceLock[] = [];

async function contend(at: number, rounds: number, width: number): Promise<Outcome> {
  const outcome: Outcome = { epochs: [], locked: [], tries: 0, others: [], slowestMs: 0 };
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, at - Date.now())));
  for (let round = 0; round < rounds; round += 1) {
    const begun = performance.now();
    const tries = Array.from({ length: width }, () => lockWorkspace(directory));
    for (const result of await Promise.allSettled(tries)) {
      outcome.tries += 1;
      if (result.status === 'fulfilled') {
        kept.push(result.value);
        outcome.epochs.push(result.value.epoch);
        continue;
      }
      const error: unknown = result.reason;
      const isLocked = error instanceof DuragentError && error.code === 'locked';
      const list = isLocked ? outcome.locked : outcome.others;
      if (!list.includes(String(error))) list.push(String(error));
    }
    outcome.slowestMs = Math.max(outcome.slowestMs, performance.now() - begun);
  }
  return outcome;
}

process.stdin.setEncoding('utf8').on('data', (text: string) => {
  const [at, rounds, width] = text.trim().split(' ').map(Number);
  void contend(at ?? 0, rounds ?? 1, width ?? 1).then((outcome) => {
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  });
});
process.stdin.on('end', () => process.exit(0));
process.stdout.write('ready\n');
