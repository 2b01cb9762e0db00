import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SessionEvent } from '@duragent/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Api } from '../support/api.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { Follower } from '../support/follower.ts';
import { modelAgent } from '../support/model-agent.ts';
import { startModelServer, type ModelServer } from '../support/model-server.ts';
import { seededRandom } from '../support/random.ts';
import { eventsOf, readAllLogs, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

/** How often the server is killed; many more with `DURAGENT_KILLS=500 npx vitest run test/faults`. */
const KILLS = Number(process.env['DURAGENT_KILLS'] ?? 25);
const SEED = Number(process.env['DURAGENT_SEED'] ?? 1);
const SESSIONS = 3;
const WRITERS_PER_SESSION = 2;
const WORDS = 6;
/** Whoever writes goes on trying for so long, in ms. */
const STUBBORN_MS = 120_000;

let model: ModelServer;
let workspace: Workspace;
beforeAll(async () => {
  model = await startModelServer({ keep: Number.MAX_SAFE_INTEGER });
  // Every answer says which call it is of, so that none can be in a log twice unnoticed.
  model.respond = () => ({ type: 'answer', tokens: answerTokens(model.started), delayMs: 3 });
  workspace = await Workspace.create({ wordy: modelAgent(model.url) });
});
afterAll(async () => {
  await workspace.close();
  await model.close();
});

function answerTokens(call: number): string[] {
  return Array.from({ length: WORDS }, (_, index) => `call${call}-${index} `);
}

/** One client that writes message after message, each until it is acknowledged. */
class Writer {
  /** Texts that were acknowledged, in order. */
  readonly acknowledged: string[] = [];
  readonly session: string;
  readonly #name: string;
  readonly #random: () => number;

  constructor(session: string, name: string, random: () => number) {
    this.session = session;
    this.#name = name;
    this.#random = random;
  }

  async run(server: () => Api | null, isOver: () => boolean): Promise<void> {
    for (let number = 1; !isOver(); number += 1) {
      const text = `${this.#name}-${number}`;
      const how = this.#random();
      await until(`${text} is acknowledged`, () => this.#send(text, how, server()), STUBBORN_MS);
      this.acknowledged.push(text);
      await delay(this.#random() * 30);
    }
  }

  /** One try, with the same key as every other try of this message. */
  async #send(text: string, how: number, api: Api | null): Promise<boolean> {
    if (api === null) return false;
    const path = `/sessions/${this.session}/${how < 0.3 ? 'stream' : 'messages'}`;
    const body = how < 0.3 ? { content: text } : { content: text, wait: how < 0.5 };
    const { status } = await api.post(path, body, { headers: { 'Idempotency-Key': text } });
    return status === 200 || status === 202;
  }
}

test(
  `after ${KILLS} kills at random moments (seed ${SEED}) nothing acknowledged is lost or doubled`,
  { timeout: 60_000 + KILLS * 5_000 },
  async () => {
    const random = seededRandom(SEED);
    let server: Server | null = await workspace.serve();
    const api = (): Api | null => server?.api ?? null;
    const make = async (key: string): Promise<string> => {
      const call = { headers: { 'Idempotency-Key': key } };
      const create = async () => await api()?.createSession({ key }, call);
      return (await until('a session', create, STUBBORN_MS))?.session ?? '';
    };
    const sessions: string[] = [];
    for (let one = 1; one <= SESSIONS; one += 1) sessions.push(await make(`s${one}`));
    const followers = sessions.map((session) => new Follower(session, api));
    const writers = sessions.flatMap((session, at) =>
      Array.from(
        { length: WRITERS_PER_SESSION },
        (_, one) => new Writer(session, `s${at + 1}w${one + 1}`, random),
      ),
    );
    let isOver = false;
    const writing = Promise.all(writers.map((writer) => writer.run(api, () => isOver)));

    for (let kill = 0; kill < KILLS; kill += 1) {
      const moment = random();
      if (server === null) {
        const run = workspace.run(['serve', '--port', '0']);
        if (moment < 0.2) {
          // As it starts.
          await delay(random() * 600);
          await run.kill();
          continue;
        }
        server = await workspace.ready(run);
      }
      await delay(random() * 500);
      const killed: Server = server;
      if (moment > 0.8) {
        // As it stops.
        killed.run.child.kill('SIGTERM');
        await delay(random() * 150);
      }
      server = null;
      await killed.run.kill();
    }

    server = await workspace.serve();
    // However little a slow machine did between the kills.
    const before = model.finished;
    await until('it goes on', () => model.finished > before + KILLS / 2, STUBBORN_MS);
    isOver = true;
    await writing;
    // A repeated key finds the session that the first try made, over all restarts.
    expect(await make('s1')).toBe(sessions[0]);
    await until('all is at rest', async () => {
      const views = await Promise.all(sessions.map((session) => server?.api.session(session)));
      return views.every((view) => view.turn_state === 'idle');
    });
    await Promise.all(
      followers.map(async (follower, at) => {
        const { last_seq } = await server.api.session(sessions[at] ?? '');
        await until('the follower has it all', () => follower.events.length === last_seq);
        await follower.close();
      }),
    );
    expect(await server.run.kill('SIGTERM')).toMatchObject({ code: 0 });
    expect(await readFile(path.join(workspace.dataDir, 'sessions', 'OPEN'), 'utf8')).toBe('');

    const logs = await readAllLogs(workspace.dataDir);
    expect(logs.map((log) => log.session).sort()).toEqual([...sessions].sort());
    for (const [at, session] of sessions.entries()) {
      const { events, lines } = logs.find((log) => log.session === session)!;
      expect(settledFaults(events)).toEqual([]);
      expect(followers[at]?.faults).toEqual([]);
      expect(followers[at]?.lines).toEqual(lines);
      const said = eventsOf(events, 'user_message').map(textOf);
      expect(new Set(said).size).toBe(said.length);
      for (const writer of writers.filter((one) => one.session === session)) {
        const name = writer.acknowledged[0]!.replace(/\d+$/, '');
        expect(said.filter((text) => text.startsWith(name))).toEqual(writer.acknowledged);
      }
      const ours = writers.filter((one) => one.session === session);
      expect(said.length).toBe(ours.flatMap((one) => one.acknowledged).length);
    }
    checkAnswers(logs.flatMap(({ events }) => events));
  },
);

/** Every answer is one whole answer of the model, and none is there twice. */
function checkAnswers(events: readonly SessionEvent[]): void {
  const answers = eventsOf(events, 'assistant_message').map(textOf);
  expect(answers.length).toBeGreaterThan(KILLS / 2);
  expect(new Set(answers).size).toBe(answers.length);
  const given = new Set(model.requests.map((_, at) => answerTokens(at + 1).join('')));
  expect(answers.filter((text) => !given.has(text))).toEqual([]);
  expect(model.finished).toBeGreaterThanOrEqual(answers.length);
  const outcomes = eventsOf(events, 'turn_finished').map((event) => event.outcome);
  const expected = ['completed', 'needs_attention'];
  expect(outcomes.filter((outcome) => !expected.includes(outcome))).toEqual([]);
}
