import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EventOf } from '@duragent/protocol';
import { startAnsweringModel } from '../support/answering-model.ts';
import { modelAgent } from '../support/model-agent.ts';
import { type Behaviour, Gate, type ModelServer } from '../support/model-server.ts';
import { eventsOf, readAllLogs, textOf } from '../support/session-log.ts';
import { Stories } from '../support/stories.ts';
import { type ShownMessage, TelegramBot, type TelegramChat } from '../support/telegram.ts';
import { until } from '../support/until.ts';

/** What stands before a part that may be there already. */
const AGAIN = '[sent again] ';

let model: ModelServer;
let bot: TelegramBot;
const behaviours = new Map<string, Behaviour>();

/** Has the model answer that to this, with a pause before each word. @returns the whole answer. */
function answerSlowly(text: string, words: number, hold: { gate?: Gate; holdAfter?: number } = {}) {
  const tokens = Array.from({ length: words }, (_, index) => `word-${index} `);
  behaviours.set(text, { type: 'answer', tokens, delayMs: 40, ...hold });
  return tokens.join('').trim();
}

/** Has the model answer that to this. */
function answer(text: string, content: string): void {
  behaviours.set(text, { type: 'answer', tokens: content.match(/[^]{1,20}/g) ?? [] });
}

/** A text of about 12,000 characters, whose code is longer than a message, and names every line. */
function longText(): string {
  const words = Array.from({ length: 500 }, (_, at) => `w${at}`);
  const lines = Array.from({ length: 220 }, (_, at) => `const line_${at} = ${at} * 2; // l${at}`);
  const code = `\`\`\`ts\n${lines.join('\n')}\n\`\`\``;
  return `${words.join(' ')}.\n\n${code}\n\n${words.join(', ')}.`;
}

function wordsOf(text: string): string[] {
  return text.match(/[\w-]+/g) ?? [];
}

/** The answer of a log that has this text, and the session it is in. */
async function recorded(text: string): Promise<EventOf<'assistant_message'>> {
  const logs = await readAllLogs(bot.workspace.dataDir);
  const answers = logs.flatMap(({ events }) => eventsOf(events, 'assistant_message'));
  const found = answers.filter((one) => textOf(one) === text);
  expect(found).toHaveLength(1);
  const [only] = found;
  if (only === undefined) throw new Error('no such answer');
  return only;
}

/** Waits until a preview is shown that its session has recorded. */
async function preview(chat: TelegramChat): Promise<ShownMessage> {
  const shown = await until('a preview is shown', () =>
    chat.posts().find(({ edits }) => edits > 0),
  );
  await until('it is recorded', async () => {
    const logs = await readAllLogs(bot.workspace.dataDir);
    const posted = logs.flatMap(({ events }) => eventsOf(events, 'preview_posted'));
    return posted.some((event) => event.platform_message_id === String(shown?.message_id));
  });
  if (!shown) throw new Error('no preview');
  return shown;
}

/** The states of a message, each of which has to begin with the one before. */
function growth({ history }: ShownMessage): string[] {
  const texts = history.map(({ text }) => text);
  for (const [index, text] of texts.entries()) {
    expect(text.startsWith(texts[index - 1] ?? '')).toBe(true);
  }
  return texts;
}

const stories = new Stories<'gateway' | 'server'>({
  'a reply grows in one message, up to its end': async function* () {
    const ann = bot.person('Ann');
    const text = answerSlowly('tell me', 70);
    ann.say('tell me');
    const [shown] = await ann.shows(text);
    const texts = shown ? growth(shown) : [];
    expect(texts.length).toBeGreaterThan(2);
    expect(new Set(texts).size).toBe(texts.length);
    // One that was under way when the message was posted is shown for 5 s.
    await until('nobody types', () => bot.control.typing({ chat_id: ann.id }) === null);
    // What was still to be shown of it would have its turn while the next one grows.
    const next = answerSlowly('go on', 70);
    ann.say('go on');
    const [after, grown] = await ann.shows(text, next);
    expect(grown?.edits).toBeGreaterThan(1);
    expect(after?.history).toEqual(shown?.history);
    yield 'gateway';
  },

  'a reply whose gateway is killed meanwhile ends in the message that it began in':
    async function* () {
      const ann = bot.person('Ann');
      const gate = new Gate();
      const text = answerSlowly('tell slowly', 80, { gate, holdAfter: 40 });
      ann.say('tell slowly');
      const { message_id } = await preview(ann);
      yield 'gateway';
      gate.release();
      const [shown] = await ann.shows(text);
      expect(shown?.message_id).toBe(message_id);
      if (shown) growth(shown);
    },

  'a reply whose server is killed meanwhile ends in the message that it began in':
    async function* () {
      const ann = bot.person('Ann');
      yield 'gateway';
      const gate = new Gate();
      const text = answerSlowly('tell on', 80, { gate, holdAfter: 40 });
      ann.say('tell on');
      const { message_id } = await preview(ann);
      yield 'server';
      gate.release();
      const [shown] = await ann.shows(text);
      expect(shown?.message_id).toBe(message_id);
    },

  'a part whose posting was not confirmed is posted again, with a mark': async function* () {
    const ann = bot.person('Ann');
    const paragraphs = ['a', 'b'].map((letter) => `${letter.repeat(9)} `.repeat(300).trim());
    answer('in two parts', paragraphs.join('\n\n'));
    // The first posting is of the preview, or of the first part.
    bot.control.addFault({
      fault: { type: 'cut', when: 'after' },
      methods: ['sendRichMessage'],
      chat_id: ann.id,
      nth: 2,
    });
    ann.say('in two parts');
    const [first = '', second = ''] = paragraphs;
    await ann.shows(first, second, new RegExp(`^\\[sent again\\]\\s+${second}$`));
    yield 'gateway';
  },

  'a long reply comes in parts, in order, each of which reads well by itself': async function* () {
    const ann = bot.person('Ann');
    const text = longText();
    answer('at length', text);
    ann.say('at length');
    await until('two parts are there', () => ann.posts().length === 2);
    yield 'gateway';
    await until('three parts are there', () => ann.posts().length >= 3);
    yield 'server';
    const { deliveries } = await until('it is recorded', () => recorded(text));
    const parts = (deliveries?.[0]?.parts ?? []).flatMap((part) => ('file' in part ? [] : [part]));
    expect(parts.length).toBeGreaterThan(2);
    const bodies = parts.map(({ from, to }) => text.slice(from, to));
    expect(bodies.join('')).toBe(text);
    const whole = parts.map(({ prefix, suffix }, at) => `${prefix}${bodies[at]}${suffix}`);
    for (const part of whole) {
      expect(part.length).toBeLessThanOrEqual(4096);
      expect((part.match(/^```/gm)?.length ?? 0) % 2).toBe(0);
    }
    await until('the last part is there', () =>
      ann
        .texts()
        .at(-1)
        ?.includes(wordsOf(text).at(-1) ?? ''),
    );
    await bot.rest(ann);
    // What was on its way when something was killed is there once, or marked.
    const texts = ann.texts().map((one) => one.replaceAll(/\s+/g, ' '));
    const marked = texts.filter((one) => one.startsWith(AGAIN));
    const unmarked = texts.map((one) => one.replace(AGAIN, ''));
    const once = unmarked.filter(
      (one, at) => !(texts[at]?.startsWith(AGAIN) && one === unmarked[at - 1]),
    );
    expect(marked.length).toBeLessThanOrEqual(2);
    expect(wordsOf(once.join(' '))).toEqual(wordsOf(text.replaceAll('```ts', '')));
  },
});

beforeAll(async () => {
  model = await startAnsweringModel(behaviours);
  bot = await TelegramBot.start({ agents: { wordy: modelAgent(model.url) } });
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
