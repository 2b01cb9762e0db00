import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ApprovalView } from '@duragent/protocol';
import {
  approvalIn,
  asking,
  bash,
  decide,
  idle,
  questionIn,
  questionsOf,
  toolAgent,
} from '../support/consent.ts';
import { eventsOf, readLog, settledFaults } from '../support/session-log.ts';
import { Stories } from '../support/stories.ts';
import {
  accessOf,
  type ShownMessage,
  TelegramBot,
  type TelegramChat,
} from '../support/telegram.ts';
import { until } from '../support/until.ts';

/** Who may decide. */
const [ADA, OLA, OTTO, UMA, LEA, KIM, IVY] = [7301, 7302, 7303, 7304, 7305, 7306, 7307];

let bot: TelegramBot;

/** A command of a story, and how often it ran. */
function mark(name: string): { command: string; lines: () => number } {
  const file = path.join(bot.workspace.dir, name);
  return {
    command: `echo done >> ${name}`,
    lines: () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0),
  };
}

/** Waits until a card with buttons is shown that says this. */
async function card(chat: TelegramChat, says: string | RegExp): Promise<ShownMessage> {
  return await until(`a card says ${String(says)}`, () =>
    chat.posts().find(({ text, buttons }) => {
      const fits = typeof says === 'string' ? text.includes(says) : says.test(text);
      return buttons.length > 0 && fits;
    }),
  ).then((found) => found ?? Promise.reject(new Error('no card')));
}

function labels({ buttons }: ShownMessage): string[] {
  return buttons.flat().map(({ text }) => text);
}

/** A message as it is shown now. */
function now(chat: TelegramChat, { message_id }: ShownMessage): ShownMessage | undefined {
  return chat.posts().find((one) => one.message_id === message_id);
}

async function sessionOf(chat: TelegramChat): Promise<string> {
  return (await bot.sessionOf(chat)) ?? 'none';
}

async function openIn(chat: TelegramChat): Promise<ApprovalView> {
  await until('it has a session', async () => (await bot.sessionOf(chat)) !== null);
  return await approvalIn(bot.server.api, await sessionOf(chat));
}

const stories = new Stories<'gateway' | 'server'>({
  'the buttons of a card in a direct chat do what they say, also after everything was killed':
    async function* () {
      const ada = bot.person('Ada', { id: ADA });
      const did = mark('direct');
      ada.say(bash(did.command));
      const asked = await card(ada, `🔐 bash asks for consent:\n\n│ ${did.command}\n`);
      expect(asked.text).toContain(`in ${bot.workspace.dir}`);
      // No rule can hold a redirection.
      expect(labels(asked)).toEqual(['Allow once', 'Deny']);
      expect(await ada.press(asked, 'Allow once')).toMatch(/^Allowed once\. session_/);
      await until('it ran', () => did.lines() === 1);
      await until('the card has changed', () => now(ada, asked)?.buttons.length === 0);
      expect(now(ada, asked)?.text).toMatch(/^🔐 bash: Allowed once \(telegram:7301\)\. session_/);
      await idle(bot.server.api, await sessionOf(ada));

      ada.say(bash('touch direct-always'));
      const always = await card(ada, 'touch direct-always');
      expect(labels(always)).toEqual(['Allow once', 'Allow always', 'Deny']);
      yield 'gateway';
      expect(await ada.press(always, 'Allow always')).toMatch(/^Allowed, always from now on\./);
      await idle(bot.server.api, await sessionOf(ada));
      const before = ada.posts().length;
      ada.say(bash('touch direct-always'));
      await until('it ran unasked', () => ada.posts().length === before + 1);
      expect(ada.texts().at(-1)).toContain('Exit code 0');

      ada.say(bash(did.command));
      const late = await card(ada, `🔐 bash asks for consent:\n\n│ ${did.command}\n`);
      yield 'server';
      expect(await ada.press(late, 'Deny')).toMatch(/^Denied\. session_/);
      await idle(bot.server.api, await sessionOf(ada));
      expect(did.lines()).toBe(1);
      await until('the card has changed', () => now(ada, late)?.buttons.length === 0);
    },

  'in a group only who may decides, once, and never for ever': async function* () {
    const ola = bot.person('Ola', { id: OLA });
    const ben = bot.person('Ben');
    const group = bot.group([ola, ben]);
    const file = path.join(bot.workspace.dir, 'group');
    group.say('@simulated_bot hello', { by: ben });
    await group.shows(/hello/);
    await bot.server.api.say(await sessionOf(group), bash('touch group'));
    const asked = await card(group, 'touch group');
    expect(labels(asked)).toEqual(['Allow once', 'Deny']);
    const refusal = 'You may not decide this (access.approvers).';
    expect(await group.press(asked, 'Allow once', ben)).toBe(refusal);
    expect(await group.press(asked, 'Deny', ben)).toBe(refusal);
    const { approval } = await openIn(group);
    yield 'gateway';
    // What is typed is judged as what is pressed.
    group.say(`/approve@simulated_bot ${approval} always`, { by: ola });
    await until('it is refused', () =>
      group.texts().some((text) => text === 'In a group it can be allowed once, not always.'),
    );
    group.say(`/approve@simulated_bot ${approval}`, { by: ben });
    await until('it is refused', () => group.texts().includes(refusal));
    expect(now(group, asked)?.text).toBe(asked.text);
    expect(existsSync(file)).toBe(false);
    yield 'server';
    const pressed = await Promise.all([
      group.press(asked, 'Allow once', ola),
      group.press(asked, 'Allow once', ola),
    ]);
    expect(pressed.filter((told) => told.startsWith('Allowed once.'))).toHaveLength(1);
    expect(pressed.filter((told) => told.includes('no longer open'))).toHaveLength(1);
    await idle(bot.server.api, await sessionOf(group));
    expect(existsSync(file)).toBe(true);
  },

  'a card that is decided elsewhere is edited by itself, and what is pressed too late does nothing':
    async function* () {
      const otto = bot.person('Otto', { id: OTTO });
      const did = mark('late');
      otto.say(bash(did.command));
      const first = await card(otto, did.command);
      const open = await openIn(otto);
      await decide(bot.server.api, open, 'deny');
      await until('the card has changed', () => now(otto, first)?.buttons.length === 0);
      expect(now(otto, first)?.text).toBe(`🔐 bash: Denied (http:file). ${open.session}`);
      yield 'gateway';
      await idle(bot.server.api, open.session);
      otto.say(bash(did.command));
      const second = await card(otto, did.command);
      await openIn(otto);
      // Pressed while the turn is being stopped: whichever comes first, nothing runs.
      const pressed = otto.press(second, 'Deny');
      await bot.server.api.post(`/sessions/${open.session}/cancel`);
      await idle(bot.server.api, open.session);
      expect(await pressed).toMatch(/^Denied|no longer open/);
      await until('the card has changed', () => now(otto, second)?.buttons.length === 0);
      otto.say(bash(did.command));
      const third = await card(otto, did.command);
      await openIn(otto);
      yield 'server';
      await bot.server.api.post(`/sessions/${open.session}/cancel`);
      await until('the card has changed', () => now(otto, third)?.buttons.length === 0);
      expect(now(otto, third)?.text).toBe(
        `🔐 bash: No longer asked, the turn was stopped. ${open.session}`,
      );
      expect(did.lines()).toBe(0);
      otto.say(`/approve appr_${'0'.repeat(26)}`);
      await until('it is said', () => otto.texts().some((text) => /no longer open/.test(text)));
      otto.say('/approve appr_1');
      await until('it is said', () =>
        otto.texts().includes('/approve <approval>, /approve <approval> always, /deny <approval>'),
      );
    },

  'a command that does not fit into a message is a file, and can only be denied there':
    async function* () {
      const lea = bot.person('Lea', { id: LEA });
      const did = mark('long');
      const command = `: ${'long '.repeat(1000)}; ${did.command}`;
      lea.say('hello');
      await lea.shows(/hello/);
      const session = await sessionOf(lea);
      await bot.server.api.say(session, bash(command));
      const asked = await card(lea, 'too long for one message here');
      expect(labels(asked)).toEqual(['Deny']);
      const file = await until('the file is shown', () =>
        lea
          .posts()
          .flatMap(({ files }) => files)
          .find(({ name }) => name === 'bash.txt'),
      );
      const { base64 } = bot.control.file({ file_id: file?.file_id ?? '' });
      expect(Buffer.from(base64, 'base64').toString()).toBe(command);
      const open = await openIn(lea);
      yield 'gateway';
      for (const how of ['', ' always']) {
        const before = lea.texts().length;
        lea.say(`/approve ${open.approval}${how}`);
        await until('it is refused', () => lea.texts().length > before);
        expect(lea.texts().at(-1)).toContain('The whole of it was not shown in this chat');
      }
      yield 'server';
      expect(did.lines()).toBe(0);
      expect(await lea.press(asked, 'Deny')).toMatch(/^Denied\./);
      await idle(bot.server.api, session);
      expect(did.lines()).toBe(0);
      // Where the whole of it can be seen it can be allowed.
      await bot.server.api.say(session, bash(command));
      await decide(bot.server.api, await openIn(lea), 'allow_once');
      await idle(bot.server.api, session);
      expect(did.lines()).toBe(1);
    },

  'a question is answered by a button, or by what is said': async function* () {
    const uma = bot.person('Uma', { id: UMA });
    uma.say(asking('Which number?', { choices: ['2', '1', 'none\u202e'] }));
    const asked = await card(uma, /^❓ Which number\?\n\n1\. 2\n2\. 1\n3\. none⟨U\+202E⟩\n/);
    expect(await uma.press(asked, '2')).toMatch(/^Answered: 2\. session_/);
    const session = await sessionOf(uma);
    await idle(bot.server.api, session);
    yield 'gateway';
    uma.say(asking('And your name?'));
    const question = await questionIn(bot.server.api, session);
    expect(question.text).toBe('And your name?');
    yield 'server';
    uma.say('Uma, of course');
    await until('it is answered', async () => {
      return (await questionsOf(bot.server.api, session)).length === 0;
    });
    await idle(bot.server.api, session);
    const { events } = await readLog(bot.workspace.sessionDir(session));
    expect(eventsOf(events, 'question_answered')).toMatchObject([
      { answer: '2', by: `telegram:${UMA}` },
      { answer: 'Uma, of course', by: `telegram:${UMA}` },
    ]);
    await until('the model was told', () => uma.texts().at(-1)?.includes('Uma, of course'));
    expect(settledFaults(events)).toEqual([]);
  },

  'an Allow always whose rule cannot be kept says so, and allows it once': async function* () {
    const ivy = bot.person('Ivy', { id: IVY });
    const { session } = await bot.server.api.createSession({ agent: 'strict' });
    ivy.say(`/attach ${session}`);
    await until('it is attached', async () => (await bot.sessionOf(ivy)) === session);
    ivy.say(bash('touch strict'));
    const asked = await card(ivy, 'touch strict');
    await openIn(ivy);
    const rules = path.join(bot.workspace.dataDir, 'agents', 'strict', 'policy.local.yaml');
    await writeFile(rules, 'allow: [');
    expect(await ivy.press(asked, 'Allow always')).toMatch(/allowed once.*policy\.local\.yaml/i);
    await idle(bot.server.api, session);
    expect(existsSync(path.join(bot.workspace.dir, 'strict'))).toBe(true);
    yield 'gateway';
    yield 'server';
  },

  'what is asked while nobody is there is answered two starts later, from elsewhere':
    async function* () {
      const kim = bot.person('Kim', { id: KIM });
      const { session } = await bot.server.api.createSession();
      await bot.server.api.say(session, asking('Shall I?', { choices: ['yes', 'no'] }));
      const question = await questionIn(bot.server.api, session);
      yield 'gateway';
      yield 'server';
      kim.say(`/attach ${session}`);
      await until('it is attached', async () => (await bot.sessionOf(kim)) === session);
      kim.say(`/answer ${question.question} 2`);
      await until('it is answered', () =>
        kim.texts().some((text) => text.startsWith('Answered: no.')),
      );
      await until('the turn has ended', () => kim.texts().some((text) => text.endsWith(': no')));
      const { events } = await readLog(bot.workspace.sessionDir(session));
      expect(eventsOf(events, 'turn_finished')).toMatchObject([{ outcome: 'completed' }]);
      expect(settledFaults(events)).toEqual([]);
    },
});

beforeAll(async () => {
  const access = accessOf({ owners: [ADA, OLA, OTTO, UMA, LEA, KIM, IVY] });
  bot = await TelegramBot.start({
    agents: {
      helper: toolAgent(['bash', 'ask_user'], access),
      strict: toolAgent(['bash'], access),
    },
    config: 'default_agent: helper\nroutes: [{ match: {}, agent: helper }]',
  });
  await stories.tell((what) => bot.kill(what));
}, 120_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
});

stories.tests();

test('every card reached its chat once', async () => {
  await bot.rest();
  expect(await bot.faults(/^\//)).toEqual([]);
});
