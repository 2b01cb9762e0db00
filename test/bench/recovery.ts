import type { IncomingMessage } from 'node:http';
import { openClient } from './client.ts';
import type { Row, Size } from './rows.ts';
import { attach, makeWorkspace, spawnDuragent, startDuragent, tokenOf } from './servers.ts';
import { compare, type Pair } from './statistics.ts';
import { PACE_MS, TOKENS, type Workshop } from './workshop.ts';

/** Token frames that have come when the server is killed, of an answer of `TOKENS`. */
const KILL_AFTER = 10;

/** `kill -9` in the middle of an answer, and how soon the next server goes on with it. */
export async function measureRecovery(workshop: Workshop, size: Size): Promise<Row[]> {
  const workspace = makeWorkspace(workshop);
  await recoverOnce(workshop, workspace); // fills the compile cache, also with the provider's part
  const pairs: Pair[] = [];
  for (let index = 0; index < size.recoveryPairs; index++) {
    pairs.push(await recoverOnce(workshop, workspace));
  }
  return [
    {
      figure: 'kill -9 and restart until the session answers',
      against: 'ready',
      unit: 'ms',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 1.5 },
      meaning: `An answer streams (${TOKENS} tokens, ${PACE_MS} ms apart); at its token frame ${KILL_AFTER} the server is killed with SIGKILL. Then from spawning the next server on the same data until a client of the session, which tries \`GET …/events?after=<last id it saw>\` every 2 ms, has the first \`token\` frame of the same turn. That holds the start, the recovery, the attach, loading the provider and the model's new call. Against "ready" of the server that was killed, which was started on the same data after a clean stop. In each pair the turn has to end once, as completed.`,
    },
  ];
}

async function recoverOnce(workshop: Workshop, workspace: string): Promise<Pair> {
  const first = await startDuragent(workshop, workspace);
  const session = await first.newSession('paced');
  const response = await first.client.post(`/api/v1/sessions/${session}/stream`, {
    content: 'Say fifty words, slowly.',
  });
  const seen = await readUntil(response, (text) => count(text, TOKEN_FRAME) >= KILL_AFTER);
  response.on('error', () => undefined); // it breaks off, as it should
  await workshop.processes.kill(first.running);
  first.client.close();
  const after = lastMatch(seen, /^id: (\d+)$/gm);
  const turn = lastMatch(seen, /"turn":"(turn_\w+)"/g);

  const { running, url } = await spawnDuragent(workshop, workspace);
  const client = openClient(url, tokenOf(workspace));
  const events = await attach(running, client, session, after);
  const reading = new Reading(events);
  await reading.until((text) => text.includes(`${TOKEN_FRAME}data: {"turn":"${turn}"`));
  const answersMs = performance.now() - running.startedAt;
  await reading.until((text) => text.includes('event: turn_finished\n'));
  await reading.until((text) => text.endsWith('\n\n'));
  if (
    count(reading.text, 'event: turn_finished\n') !== 1 ||
    !reading.text.includes('"outcome":"completed"')
  ) {
    throw new Error(`${turn} did not end once, as completed: ${reading.text.slice(-600)}`);
  }
  await reading.close();
  client.close();
  await workshop.processes.stop(running);
  return { duragent: answersMs, floor: first.readyMs };
}

const TOKEN_FRAME = 'event: token\n';

/** A stream of text that is read as far as it is asked for. */
class Reading {
  text = '';
  readonly #parts: AsyncIterator<Buffer>;

  constructor(stream: AsyncIterable<Buffer>) {
    this.#parts = stream[Symbol.asyncIterator]();
  }

  async until(isEnough: (text: string) => boolean): Promise<void> {
    while (!isEnough(this.text)) {
      const part = await this.#parts.next();
      if (part.done) throw new Error(`the stream ended: ${this.text.slice(-600)}`);
      this.text += part.value.toString();
    }
  }

  async close(): Promise<void> {
    await this.#parts.return?.();
  }
}

/** Reads until the text is enough, and leaves the stream open. */
async function readUntil(
  response: IncomingMessage,
  isEnough: (text: string) => boolean,
): Promise<string> {
  const enough = Promise.withResolvers<string>();
  let text = '';
  response.on('data', (part: Buffer) => {
    text += part.toString();
    if (isEnough(text)) enough.resolve(text);
  });
  response.once('end', () => enough.reject(new Error(`the stream ended: ${text.slice(-600)}`)));
  return await enough.promise;
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}

function lastMatch(text: string, pattern: RegExp): string {
  const found = [...text.matchAll(pattern)].at(-1)?.[1];
  if (found === undefined) throw new Error(`nothing like ${pattern.source} in: ${text}`);
  return found;
}
