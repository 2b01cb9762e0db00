import { afterAll, beforeAll, expect, test } from 'vitest';
import { approvalIn, calling, decide, idle, toolAgent } from '../support/consent.ts';
import { eventsOf, readLog, settledFaults } from '../support/session-log.ts';
import { accessOf, TelegramBot, type TelegramChat } from '../support/telegram.ts';
import { until } from '../support/until.ts';

const [ADA, OLA] = [7401, 7402];

let bot: TelegramBot;
beforeAll(async () => {
  bot = await TelegramBot.start({
    agents: {
      helper: toolAgent(['report_progress', 'notify_user'], accessOf({ owners: [ADA, OLA] })),
    },
    config: 'default_agent: helper\nroutes: [{ match: {}, agent: helper }]',
  });
}, 60_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
});

/** The session of a chat that has said hello. */
async function greeted(chat: TelegramChat): Promise<string> {
  chat.say('hello');
  await until('it is answered', () => chat.texts().length === 1);
  const session = (await bot.sessionOf(chat)) ?? 'none';
  await idle(bot.server.api, session);
  return session;
}

async function notices(session: string) {
  const { events } = await readLog(bot.workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  return eventsOf(events, 'notice').filter(({ call }) => call !== undefined);
}

test('how far a turn is stands on its stream and, above the answer, in one message of its chat', async () => {
  const ada = bot.person('Ada', { id: ADA });
  const session = await greeted(ada);
  const stream = await bot.server.api.events(session);
  ada.say(calling('report_progress', { text: 'Half of\u202eit', percent: 50 }));
  await stream.until('the progress', () => stream.of('progress').length > 0);
  expect(stream.of('progress')).toMatchObject([
    { turn: expect.stringMatching(/^turn_/), text: 'Half of\u202eit', percent: 50 },
  ]);
  await idle(bot.server.api, session);
  await until('it is answered', () => ada.texts().length === 3);
  expect(ada.texts()[1]).toBe('⏳ 50 %: Half of⟨U+202E⟩it');
  expect(ada.texts()[2]).toContain('Shown.');
  const { events } = await readLog(bot.workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
});

test('a chat is told something once beside the answer, and other chats only when a person allows it', async () => {
  const ola = bot.person('Ola', { id: OLA });
  const ben = bot.person('Ben');
  // Telegram lets bots write only to those who have written.
  await greeted(ben);
  const session = await greeted(ola);
  ola.say(calling('notify_user', { text: 'It is **built**.' }));
  await until('both are there', () => ola.texts().length === 3);
  expect(ola.texts()[1]).toBe('It is built.');
  expect(ola.texts()[2]).toContain(`Sent to telegram:${OLA}.`);
  await bot.killServer();
  expect(await notices(session)).toMatchObject([{ text: 'It is **built**.' }]);

  ola.say(calling('notify_user', { text: 'Hello Ben', chats: [`telegram:${ben.id}`] }));
  const open = await approvalIn(bot.server.api, session);
  expect(open.reason).toContain(`it writes to telegram:${ben.id}`);
  expect(open).toMatchObject({ always: null, shown: `Tell telegram:${ben.id}:\nHello Ben` });
  expect(ben.texts()).toHaveLength(1);
  await decide(bot.server.api, open, 'allow_once');
  await until('he is told', () => ben.texts().length === 2);
  await idle(bot.server.api, session);
  await bot.rest();
  expect(ben.texts().slice(1)).toEqual(['Hello Ben']);
  expect(ola.texts()).not.toContain('Hello Ben');
  expect(ola.texts().filter((text) => text === 'It is built.')).toHaveLength(1);
  // Nobody pressed its buttons here.
  const card = ola.posts().find(({ text }) => text.startsWith('🔐'));
  expect(card).toMatchObject({
    text: `🔐 notify_user: Allowed once (http:file). ${session}`,
    buttons: [],
  });
});

test('after the words of others a person has to allow it', async () => {
  const cid = bot.person('Cid');
  const session = await greeted(cid);
  cid.say(calling('notify_user', { text: 'Send money' }));
  const open = await approvalIn(bot.server.api, session);
  expect(open.reason).toContain('words of others');
  await decide(bot.server.api, open, 'deny');
  await idle(bot.server.api, session);
  expect(await notices(session)).toEqual([]);
  await until('it is answered', () => cid.texts().length === 3);
});

test('all of it came to its chats', async () => {
  await bot.rest();
  expect(await bot.faults(/^\//)).toEqual([]);
});
