import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answer, bash, idle, questionIn, questionsOf } from '../support/consent.ts';
import { needs } from '../support/needs.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { Stories } from '../support/stories.ts';
import { TelegramBot } from '../support/telegram.ts';
import { Terminal } from '../support/terminal.ts';
import { ToolLedger } from '../support/tool-ledger.ts';
import { until } from '../support/until.ts';

const ADA = 7401;
/** `agent.yaml` of an agent whose people say what came of commands that were cut. */
const AGENT = JSON.stringify({
  apiVersion: 'duragent/v1alpha1',
  kind: 'Agent',
  metadata: { name: 'helper' },
  spec: {
    model: 'echo',
    tools: [{ type: 'builtin', name: 'bash', on_interrupt: 'ask' }],
    access: {
      owners: [`telegram:${ADA}`],
      dm: { policy: 'open' },
      queue: { debounce: { enabled: false } },
    },
  },
});

let bot: TelegramBot;
let ledger: ToolLedger;
const api = () => bot.server.api;

/** A command that takes long, as the ledger knows it. */
function long(token: string): string {
  return `./act plain ${token} 60 0`;
}

/** Waits until a command has begun, and what it prints has come. */
async function begun(session: string, token: string): Promise<void> {
  const folder = path.join(bot.workspace.sessionDir(session), 'output');
  await until(`${token} runs`, () => {
    const files = existsSync(folder) ? readdirSync(folder) : [];
    return files.some((name) =>
      readFileSync(path.join(folder, name), 'utf8').includes(`begin ${token}`),
    );
  });
}

function startsOf(token: string): number {
  return ledger.entries().filter((entry) => entry.mark === 'start' && entry.token === token).length;
}

/** What a session's log says in the end of its only call: the command began once, with one result. */
async function endOf(session: string, token: string) {
  await idle(api(), session);
  const { events } = await readLog(bot.workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  expect(eventsOf(events, 'tool_started')).toHaveLength(1);
  expect(eventsOf(events, 'question_asked')).toHaveLength(1);
  expect(startsOf(token)).toBe(1);
  const results = eventsOf(events, 'tool_finished');
  expect(results).toMatchObject([{ outcome: 'unknown' }]);
  return {
    events,
    told: results[0]?.content ?? '',
    said: eventsOf(events, 'assistant_message').map(textOf).at(-1) ?? '',
    answers: eventsOf(events, 'question_answered').map((one) => [one.answer, one.by]),
    outcomes: eventsOf(events, 'turn_finished').map((one) => one.outcome),
  };
}

const stories = new Stories<'server'>({
  'is asked about over HTTP and on the command line, through another crash': async function* () {
    const { session } = await api().createSession();
    await api().say(session, bash(long('rest')));
    await begun(session, 'rest');
    yield 'server';
    const question = await questionIn(api(), session);
    expect(question.text).toContain(`│ bash\n│ command: ${long('rest')}\n`);
    expect(question.text).toContain('The end of its output:\n│ begin rest\n');
    expect(question.choices).toEqual(['It was done', 'It was not done', 'I cannot say']);
    expect(question.expires_at).toBeNull();
    expect(await api().session(session)).toMatchObject({ turn_state: 'waiting_input' });
    yield 'server';
    expect(await questionsOf(api(), session)).toEqual([question]);
    const listing = bot.workspace.run(['questions']);
    await listing.exit();
    expect(listing.stdout).toContain(`    │ command: ${long('rest')}\n`);
    expect(await answer(api(), question, 'Perhaps')).toMatchObject({ status: 400 });
    expect(await answer(api(), question, '1')).toMatchObject({ status: 200 });
    expect(await answer(api(), question, '2')).toMatchObject({ status: 409 });
    const { answers, outcomes, told, said } = await endOf(session, 'rest');
    expect(answers).toEqual([['It was done', 'http:file']]);
    expect(outcomes).toEqual(['completed']);
    expect(told).toMatch(/says: It was done\. It was not run again\.\nIts output so far:\nbegin/);
    expect(said).toContain('says: It was done.');
  },

  'is asked about with buttons, and one that is older than a crash still works':
    async function* () {
      const ada = bot.person('Ada', { id: ADA });
      ada.say(bash(long('chat')));
      const session = await until('it has a session', async () => bot.sessionOf(ada));
      await until('it runs', () => startsOf('chat') === 1);
      yield 'server';
      const card = await until('it is asked', () =>
        ada.posts().find(({ buttons }) => buttons.length > 0),
      );
      expect(card?.text).toContain(`│ command: ${long('chat')}`);
      yield 'server';
      expect(card && (await ada.press(card, 'It was not done'))).toMatch(
        /^Answered: It was not done\. session_/,
      );
      const { answers, told } = await endOf(session ?? '', 'chat');
      expect(answers).toEqual([['It was not done', `telegram:${ADA}`]]);
      expect(told).toContain(`A person (telegram:${ADA}) was asked`);
      await until('the model was told', () => ada.texts().at(-1)?.includes('It was not done'));
    },

  'is closed with its turn, and not as one that was left out': async function* () {
    const { session } = await api().createSession();
    await api().say(session, bash(long('closed')));
    await begun(session, 'closed');
    yield 'server';
    const question = await questionIn(api(), session);
    await api().post(`/sessions/${session}/cancel`);
    expect(await answer(api(), question, '1')).toMatchObject({ status: 409 });
    const { answers, outcomes, told } = await endOf(session, 'closed');
    expect(answers).toEqual([]);
    expect(outcomes).toEqual(['cancelled']);
    expect(told).toContain('its outcome is unknown');
    yield 'server';
    expect(await questionsOf(api(), session)).toEqual([]);
  },
});

beforeAll(async () => {
  bot = await TelegramBot.prepare({
    agents: {},
    config: 'default_agent: helper\nroutes: [{ match: {}, agent: helper }]',
  });
  const home = path.join(bot.workspace.dataDir, 'agents', 'helper');
  await mkdir(home, { recursive: true });
  await writeFile(path.join(home, 'agent.yaml'), AGENT);
  await writeFile(path.join(bot.workspace.dataDir, 'policy.yaml'), 'mode: dangerous\n');
  ledger = await ToolLedger.create([bot.workspace.dir]);
  await bot.serve();
  await bot.ready();
  await stories.tell(() => bot.killServer());
}, 120_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
});

stories.tests();

test('is asked about as well when the server stops in order', { timeout: 60_000 }, async () => {
  const { session } = await api().createSession();
  await api().say(session, bash(long('stopped')));
  await begun(session, 'stopped');
  await bot.server.run.kill('SIGTERM');
  await bot.serve();
  const question = await questionIn(api(), session);
  expect(question.text).toContain('│ begin stopped\n');
  expect(await answer(api(), question, 'I cannot say')).toMatchObject({ status: 200 });
  const { told, events } = await endOf(session, 'stopped');
  expect(told).toMatch(
    /cannot say, so its outcome is unknown.*\nIts output so far:\nbegin stopped/,
  );
  const [asked] = eventsOf(events, 'question_asked');
  expect(eventsOf(events, 'turn_paused')).toMatchObject([{ reason: 'drain', epoch: asked?.epoch }]);
});

test.skipIf(!needs('tmux'))(
  'is asked about in a terminal that was there before the crash',
  { timeout: 60_000 },
  async () => {
    const { session } = await api().createSession();
    const terminal = await Terminal.open(bot.workspace, ['attach', session]);
    try {
      await terminal.shows('Ctrl-D detaches');
      await terminal.type(bash(long('terminal')));
      await begun(session, 'terminal');
      await bot.killServer();
      const shown = await terminal.shows(/3\. I cannot say\n.*The number and Enter picks one\./);
      expect(shown).toContain(`│ command: ${long('terminal')}`);
      expect(shown).toContain('│ begin terminal');
      await terminal.type('2');
      await terminal.shows('Answered: It was not done');
      await terminal.shows(/helper · completed/);
      const { answers, outcomes } = await endOf(session, 'terminal');
      expect(answers).toEqual([['It was not done', 'http:file']]);
      expect(outcomes).toEqual(['completed']);
    } finally {
      await terminal.close();
    }
  },
);
