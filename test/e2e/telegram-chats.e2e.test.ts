import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lastTold, startAnsweringModel, toldIn } from '../support/answering-model.ts';
import { modelAgent } from '../support/model-agent.ts';
import {
  type Behaviour,
  Gate,
  type ModelServer,
  type ModelServerRequest,
} from '../support/model-server.ts';
import { Stories } from '../support/stories.ts';
import { TelegramBot } from '../support/telegram.ts';
import { until } from '../support/until.ts';

/** A picture, for Telegram shows it as one. */
const onePixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
/** Whose messages go to the model that sends files back. */
const SENDER = 7001;

let model: ModelServer;
let bot: TelegramBot;
const behaviours = new Map<string, Behaviour>();

/** What the model was told when it was asked this. */
function toldWith(text: string): string[] {
  const asked = (request: ModelServerRequest): boolean => lastTold(request) === text;
  return toldIn(model.requests.find(asked)).map(({ content }) => content);
}

/** Has the model hold its answer to this back until the gate is opened. */
function holdAnswer(text: string, answer: string): Gate {
  const gate = new Gate();
  behaviours.set(text, { type: 'answer', tokens: [answer], gate });
  return gate;
}

const stories = new Stories<'gateway' | 'server'>({
  'a direct chat is one conversation': async function* () {
    const ann = bot.person('Ann');
    ann.say('one');
    await ann.shows('You said: one');
    yield 'gateway';
    ann.say('two');
    await ann.shows('You said: one', 'You said: two');
    yield 'server';
    ann.say('three');
    await ann.shows('You said: one', 'You said: two', 'You said: three');
    expect(toldWith('three')).toEqual(['one', 'You said: one', 'two', 'You said: two', 'three']);
  },

  'what is said right before something is killed is answered too, and a second copy is marked':
    async function* () {
      const people = Array.from({ length: 8 }, (_, index) => bot.person(`Person ${index}`));
      for (const kill of ['gateway', 'server'] as const) {
        for (const person of people) person.say(`${person.id} before the ${kill}`);
        yield kill;
        for (const person of people) {
          const answer = `You said: ${person.id} before the ${kill}`;
          const posts = (): string[] => person.texts().filter((text) => text.endsWith(answer));
          await until(`${answer} is there`, () => posts().length > 0);
          await bot.rest(person);
          const marked = posts().filter((text) => /^\[sent again\]\s/.test(text));
          const unmarked = posts().filter((text) => text === answer);
          expect([0, 1]).toContain(unmarked.length);
          expect([0, 1]).toContain(marked.length);
          expect(unmarked.length + marked.length).toBe(posts().length);
        }
      }
    },

  'a group has its own, in which the bot answers who mentions it or replies, and knows what was said':
    async function* () {
      const [ann, bob] = [bot.person('Ann'), bot.person('Bob')];
      const group = bot.group([ann, bob]);
      group.say('I planted beans', { by: bob });
      group.say('And I peas', { by: ann });
      // Slowly: the reply is posted before it is whole.
      const tokens = ['Beans, ', 'peas, ', 'and ', 'weeds.'];
      behaviours.set('Ann: @simulated_bot what grows here?', {
        type: 'answer',
        tokens,
        delayMs: 400,
      });
      const asked = group.say('@simulated_bot what grows here?', { by: ann });
      const [first] = await group.shows('Beans, peas, and weeds.');
      expect(first?.reply_to).toBe(asked);
      expect(toldWith('Ann: @simulated_bot what grows here?')).toEqual([
        '[Said in this chat meanwhile, not to you:]\nBob: I planted beans\nAnn: And I peas',
        'Ann: @simulated_bot what grows here?',
      ]);
      yield 'gateway';
      group.say('The peas are gone', { by: bob });
      yield 'server';
      group.say('and now?', { by: bob, replyTo: first?.message_id ?? 0 });
      await group.shows('Beans, peas, and weeds.', 'You said: Bob: and now?');
      expect(toldWith('Bob: and now?').slice(3)).toEqual([
        '[Said in this chat meanwhile, not to you:]\nBob: The peas are gone',
        'Bob: and now?',
      ]);
      expect(ann.posts()).toEqual([]);
    },

  'each topic of a forum has its own': async function* () {
    const ann = bot.person('Ann');
    const forum = bot.group([ann], { is_forum: true });
    const [beans, peas] = [forum.topic('Beans'), forum.topic('Peas')];
    beans.say('@simulated_bot of beans');
    peas.say('@simulated_bot of peas');
    await beans.shows('You said: Ann: @simulated_bot of beans');
    await peas.shows('You said: Ann: @simulated_bot of peas');
    yield 'gateway';
    yield 'server';
    beans.say('/ask@simulated_bot of more beans');
    await beans.shows(/of beans/, 'You said: Ann: /ask of more beans');
    expect(toldWith('Ann: /ask of more beans')).toEqual([
      'Ann: @simulated_bot of beans',
      'You said: Ann: @simulated_bot of beans',
      'Ann: /ask of more beans',
    ]);
    expect(peas.texts()).toHaveLength(1);
    expect(await bot.sessionOf(beans)).not.toBe(await bot.sessionOf(peas));
  },

  'what is edited before the agent has looked at it is said as it is then, once':
    async function* () {
      const ann = bot.person('Ann');
      const gate = holdAnswer('wait', 'It waited.');
      ann.say('wait');
      await until('the model is asked', () => gate.held === 1);
      const said = ann.say('plant baens');
      await bot.hears('plant baens');
      ann.edit(said, 'plant beans');
      await bot.hears('plant beans');
      yield 'gateway';
      gate.release();
      await ann.shows('It waited.', 'You said: plant beans');
      expect(toldWith('plant beans')).toEqual(['wait', 'It waited.', 'plant beans']);
      yield 'server';
      ann.edit(said, 'plant peas');
      await ann.shows('It waited.', 'You said: plant beans', 'You said: plant peas');
      expect(toldWith('plant peas').slice(2)).toEqual([
        'plant beans',
        'You said: plant beans',
        'plant peas',
      ]);
    },

  'a file comes in and goes out as it is': async function* () {
    const sender = bot.person('Sam', { id: SENDER });
    const files = [
      { name: 'notes – final.bin', bytes: randomBytes(300_000), caption: 'my notes' },
      { name: 'dot.png', mime: 'image/png', bytes: onePixel },
    ];
    const shown: (string | RegExp)[] = [];
    for (const { caption, ...file } of files) {
      const { file: sent } = sender.sendFile({
        ...file,
        ...(caption === undefined ? {} : { caption }),
      });
      shown.push(/^echo .*: /, '');
      const posts = await sender.shows(...shown);
      expect(posts.at(-2)?.text).toContain(`: ${caption ?? '[file'}`);
      const [back] = posts.at(-1)?.files ?? [];
      const sha256 = createHash('sha256').update(file.bytes).digest('hex');
      expect(sent.sha256).toBe(sha256);
      expect(back).toMatchObject({ sha256, size: file.bytes.length });
      yield file.mime === undefined ? 'gateway' : 'server';
    }
    expect(sender.posts()).toHaveLength(4);
  },

  'a group that becomes a supergroup goes on in it': async function* () {
    const ann = bot.person('Ann');
    const group = bot.group([ann], { type: 'group' });
    const gate = holdAnswer('Ann: @simulated_bot where are we?', 'On the move.');
    group.say('@simulated_bot where are we?');
    await until('the model is asked', () => gate.held === 1);
    const moved = group.migrated();
    gate.release();
    await moved.shows('On the move.');
    yield 'gateway';
    yield 'server';
    moved.say('@simulated_bot and now?');
    await moved.shows('On the move.', 'You said: Ann: @simulated_bot and now?');
    expect(toldWith('Ann: @simulated_bot and now?')).toEqual([
      'Ann: @simulated_bot where are we?',
      'On the move.',
      'Ann: @simulated_bot and now?',
    ]);
    expect(group.texts()).toEqual([]);
  },
});

beforeAll(async () => {
  model = await startAnsweringModel(behaviours);
  bot = await TelegramBot.start({
    agents: { plain: modelAgent(model.url), echo: 'model: echo' },
    config: `routes: [{ match: { sender_id: "${SENDER}" }, agent: echo }, { match: {}, agent: plain }]`,
  });
  await stories.tell((what) => bot.kill(what));
}, 120_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
  await model?.close();
});

stories.tests();

test('nothing of all that was lost, and nothing is there twice', async () => {
  await bot.rest();
  expect(await bot.faults()).toEqual([]);
});
