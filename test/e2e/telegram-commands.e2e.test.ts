import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OutboxPage } from '@duragent/protocol';
import { lastTold, startAnsweringModel, toldIn } from '../support/answering-model.ts';
import { modelAgent } from '../support/model-agent.ts';
import { type Behaviour, Gate, type ModelServer } from '../support/model-server.ts';
import { Stories } from '../support/stories.ts';
import { accessOf, TelegramBot, type TelegramChat } from '../support/telegram.ts';
import { until } from '../support/until.ts';

/** Owners, one for each story. */
const [ADA, OLA, OTTO] = [7101, 7102, 7103];
/** Whom agent.yaml lets in. */
const FRIENDS = [7201, 7202, 7203];

let model: ModelServer;
let bot: TelegramBot;
const behaviours = new Map<string, Behaviour>();

/** Everything the model was told before it was asked this. */
function toldBefore(text: string): string[] {
  const request = model.requests.find((one) => lastTold(one) === text);
  return toldIn(request)
    .slice(0, -1)
    .map(({ content }) => content);
}

/** Says something, and waits for the one message that answers it. */
async function ask(chat: TelegramChat, text: string, answer: string | RegExp): Promise<string> {
  const before = chat.texts();
  chat.say(text);
  const posts = await chat.shows(...before, answer);
  return posts.at(-1)?.text ?? '';
}

/** The session that a text names. */
function sessionIn(text: string): string {
  return /session_\w{26}/.exec(text)?.[0] ?? 'none';
}

const stories = new Stories<'gateway' | 'server'>({
  'the commands begin, end, show and change sessions': async function* () {
    const ada = bot.person('Ada', { id: ADA });
    await ask(ada, 'first', 'You said: first');
    const first = sessionIn(
      await ask(ada, '/status', /^session_\w{26}\nplain, active, idle; 1 turns/),
    );
    await ask(ada, '/help', /^\/help – .*\n(\/\w+ .*\n)*\/activation .* – .*owners only/);
    const second = sessionIn(
      await ask(ada, '/new', /^A fresh session with plain: session_\w{26}$/),
    );
    expect(second).not.toBe(first);
    await ask(ada, 'second', 'You said: second');
    expect(toldBefore('second')).toEqual([]);
    yield 'gateway';

    const sessions = await ask(ada, '/sessions', /session_/);
    expect(sessions).toContain(`${second} (here) plain: second`);
    expect(sessions).toContain(`${first} plain: first`);
    const { session: other } = await bot.server.api.createSession({ agent: 'plain' });
    await bot.server.api.ask(other, 'from a program');
    const attached = `This chat now shows and drives ${other}. /detach goes back.`;
    await ask(ada, `/attach ${other.slice(-8)}`, attached);
    await ask(ada, 'third', 'You said: third');
    expect(toldBefore('third')).toEqual(['from a program', 'You said: from a program']);
    yield 'server';

    await ask(ada, 'fourth', 'You said: fourth');
    expect(toldBefore('fourth').slice(2)).toEqual(['third', 'You said: third']);
    await ask(ada, '/detach', `This chat is back in its own session: ${second}`);
    const third = sessionIn(
      await ask(ada, '/reset', /^A fresh session with plain: session_\w{26}$/),
    );
    expect(await bot.server.api.session(second)).toMatchObject({ status: 'ended' });
    for (const kept of [first, other]) {
      expect((await bot.server.api.session(kept)).status).not.toBe('ended');
    }
    expect(await bot.sessionOf(ada)).toBe(third);
    // What the server does not know is the agent's.
    await ask(ada, '/plant beans', 'You said: /plant beans');
    const [listed] = Object.values(bot.control.bot().commands);
    expect(listed?.map(({ command }) => command)).toEqual(
      'help new reset stop pause resume status sessions attach detach approve deny answer queue activation'.split(
        ' ',
      ),
    );
  },

  '/stop ends what is being said, and the chat goes on': async function* () {
    const fred = bot.person('Fred', { id: FRIENDS[0] });
    const gate = new Gate();
    const tokens = Array.from({ length: 30 }, (_, index) => `w${index} `);
    behaviours.set('talk', { type: 'answer', tokens, gate, holdAfter: 20 });
    fred.say('talk');
    await until('it is under way', () => fred.texts().some((text) => text.includes('w15')));
    yield 'gateway';
    fred.say('/stop');
    await fred.shows(/^w0 .*w1\d$/s, /^Stopped\. session_/);
    await until('the model is let go', () => gate.held === 0);
    await ask(fred, '/stop', 'Nothing is under way.');
    await ask(fred, 'and now?', 'You said: and now?');
    yield 'server';
    await ask(fred, '/stop', 'Nothing is under way.');
  },

  'buttons do what they say for whoever may, and nothing for others': async function* () {
    const ola = bot.person('Ola', { id: OLA });
    const ben = bot.person('Ben');
    const group = bot.group([ola, ben]);
    group.say('@simulated_bot hello', { by: ben });
    await group.shows(/hello/);
    group.say('/queue@simulated_bot', { by: ola });
    const [, offered] = await group.shows(
      /hello/,
      /^Messages while a turn works: as the agent says\./,
    );
    const names = offered?.buttons.flat().map(({ text }) => text);
    expect(names).toEqual(['steer', 'batch', 'sequential', 'interrupt', 'drop']);
    if (!offered) throw new Error('nothing was offered');
    expect(await group.press(offered, 'drop', ben)).toBe('Only an owner may use /queue.');
    yield 'gateway';
    expect(await group.press(offered, 'batch', ola)).toMatch(
      /^Messages while a turn works: batch\./,
    );
    const [, pressed] = await group.shows(/hello/, /^Messages while a turn works: batch\./);
    expect(pressed).toMatchObject({ message_id: offered.message_id, buttons: [] });
    yield 'server';
    group.say('/queue', { by: ola });
    await group.shows(/hello/, /batch/, /^Messages while a turn works: batch\./);
  },

  'a stranger is let in by an owner, or from the command line': async function* () {
    const otto = bot.person('Otto', { id: OTTO });
    const codes: string[] = [];
    const strangers = [bot.person('Sam'), bot.person('Sue')] as const;
    for (const stranger of strangers) {
      const told = await ask(
        stranger,
        'stranger says hello',
        /^I do not know you yet\. Your code is \w{8},/,
      );
      codes.push(/Your code is (\w{8})/.exec(told)?.[1] ?? '');
    }
    const [sam, sue] = strangers;
    yield 'gateway';
    await ask(
      otto,
      '/approve 00000000',
      'No open request has this code; it may be over an hour old.',
    );
    await ask(otto, `/approve ${codes[0]}`, `Sam (telegram:${sam.id}) may now speak with plain.`);
    await sam.shows(/^I do not know you/, 'You were let in. Write something.');
    const run = bot.workspace.run(['access', 'approve', codes[1] ?? '']);
    expect({ code: (await run.exit()).code, says: run.stderr }).toEqual({
      code: 0,
      says: `Sue (telegram:${sue.id}) may now speak with plain.\n`,
    });
    await sue.shows(/^I do not know you/, 'You were let in. Write something.');
    yield 'server';
    await ask(sam, 'hello from Sam', 'You said: hello from Sam');
    await ask(sue, 'hello from Sue', 'You said: hello from Sue');
    await ask(sam, `/approve ${codes[1]}`, 'Only an owner may let somebody in.');
  },

  'who blocks the bot gets nothing, which is shown, and nobody else waits for it':
    async function* () {
      const fay = bot.person('Fay', { id: FRIENDS[1] });
      const finn = bot.person('Finn', { id: FRIENDS[2] });
      const gate = new Gate();
      behaviours.set('say it', { type: 'answer', tokens: ['It is said.'], gate });
      fay.say('say it');
      await until('the model is asked', () => gate.held === 1);
      bot.control.block({ user_id: fay.id });
      gate.release();
      const dead = async () => {
        const { body } = await bot.server.api.get<OutboxPage>('/admin/outbox');
        return body.deliveries.filter(({ state }) => state === 'dead');
      };
      await until('its delivery is dead', async () => (await dead()).length === 1);
      expect(await dead()).toMatchObject([
        { gateway: 'telegram', chat_id: String(fay.id), code: 'blocked', preview: 'It is said.' },
      ]);
      await ask(finn, 'can you hear me?', 'You said: can you hear me?');
      yield 'gateway';
      yield 'server';
      const [one] = await dead();
      expect(fay.texts()).toEqual([]);
      bot.control.unblock({ user_id: fay.id });
      const run = bot.workspace.run(['outbox', 'retry', one?.out ?? '']);
      expect((await run.exit()).code).toBe(0);
      await fay.shows('It is said.');
      expect(await dead()).toEqual([]);
    },
});

beforeAll(async () => {
  model = await startAnsweringModel(behaviours);
  const access = accessOf({
    owners: [ADA, OLA, OTTO],
    lines: [
      `dm: { policy: pairing, allowlist: [${FRIENDS.map((id) => `"telegram:${id}"`).join(', ')}] }`,
      'groups: { policy: open }',
    ],
  });
  bot = await TelegramBot.start({ agents: { plain: `${modelAgent(model.url)}\n${access}` } });
  await stories.tell((what) => bot.kill(what));
}, 120_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
  await model?.close();
});

stories.tests();

test('nothing of all that was lost, and nothing is there twice', async () => {
  await bot.rest();
  expect(await bot.faults(/^(\/(?!plant)|stranger)/)).toEqual([]);
});
