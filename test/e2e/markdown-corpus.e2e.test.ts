import { afterAll, beforeAll, expect, test } from 'vitest';
import { lastTold } from '../support/answering-model.ts';
import { markdownCorpus } from '../support/markdown-corpus.ts';
import { modelAgent } from '../support/model-agent.ts';
import { type ModelServer, startModelServer } from '../support/model-server.ts';
import { eventsOf, readAllLogs, textOf } from '../support/session-log.ts';
import { type ShownMessage, TelegramBot, type TelegramChat } from '../support/telegram.ts';
import { until } from '../support/until.ts';

/** Telegram takes one message a second in a chat: longer texts would take longer than all others. */
const MAX_LENGTH = 20_000;

/** What pings in Telegram, unless somebody sees to it. */
const pings =
  'Hello @ada_l and @all, **@ada_l**, `@ada_l`, [Ada](tg://user?id=7301), <a href="tg://user?id=7301">you</a>, [@ada_l](https://a.example).';

interface Told {
  name: string;
  text: string;
  chat: TelegramChat;
}

let model: ModelServer;
let bot: TelegramBot;
let corpus: Told[];

beforeAll(async () => {
  model = await startModelServer();
  bot = await TelegramBot.start({ agents: { writer: modelAgent(model.url) } });
  corpus = [...markdownCorpus(), { name: 'pings', text: pings }]
    .filter(({ text }) => text.trim() !== '')
    .map(({ name, text }) => {
      return { name, text: text.slice(0, MAX_LENGTH).toWellFormed(), chat: bot.person('Reader') };
    });
  const texts = new Map(corpus.map(({ name, text }) => [name, text]));
  for (const id of new Set([...texts.values()].flatMap(pinged))) bot.control.createUser({ id });
  model.respond = (request) => {
    const text = texts.get(lastTold(request)) ?? 'no such text';
    return { type: 'answer', tokens: text.match(/[^]{1,300}/gu) ?? [] };
  };
  for (const { name, chat } of corpus) chat.say(name);
  const answers = (): Promise<number> =>
    readAllLogs(bot.workspace.dataDir).then(
      (logs) => logs.flatMap(({ events }) => eventsOf(events, 'turn_finished')).length,
    );
  await until('all is answered', async () => (await answers()) === corpus.length, 60_000);
  await bot.rest();
}, 120_000);
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
  await model?.close();
});

/** The people whom a text would ping by their ids. */
function pinged(text: string): number[] {
  return [...text.matchAll(/tg:\/\/user\?id=(\d{1,12})/g)].map((match) => Number(match[1]));
}

/** In what forms messages were posted, or edited last, by chat and message. */
function readForms(): Map<string, 'rich' | 'html' | 'plain'> {
  const forms = new Map<string, 'rich' | 'html' | 'plain'>();
  for (const { parameters, answer } of bot.control.calls()) {
    const id = parameters['message_id'] ?? answer?.message_id;
    if (answer?.ok !== true || id === undefined) continue;
    const form =
      'rich_message' in parameters ? 'rich' : 'parse_mode' in parameters ? 'html' : 'plain';
    forms.set(`${Number(parameters['chat_id'])}/${Number(id)}`, form);
  }
  return forms;
}

test('the log has every text, and its parts are the text', async () => {
  const logs = await readAllLogs(bot.workspace.dataDir);
  const answers = logs.flatMap(({ events }) => eventsOf(events, 'assistant_message'));
  const texts = answers.map(textOf).toSorted();
  expect(texts).toEqual(corpus.map(({ text }) => text).toSorted());
  for (const answer of answers) {
    const parts = answer.deliveries?.[0]?.parts ?? [];
    const whole = textOf(answer);
    const bodies = parts.map((part) => ('file' in part ? '' : whole.slice(part.from, part.to)));
    expect(bodies.join('')).toBe(whole);
  }
});

test('Telegram takes nearly every part as it is best, and every one in some form', () => {
  const posts = corpus.flatMap(({ name, chat }) => chat.posts().map((post) => ({ name, post })));
  const forms = readForms();
  const others = posts.flatMap(({ name, post }) => {
    const form = forms.get(`${post.chat_id}/${post.message_id}`);
    return form === 'rich' ? [] : [`${name}: ${form}`];
  });
  expect(others.length < posts.length / 20 ? [] : others).toEqual([]);
  // What is too deep or has too many blocks for a rich message is refused as one.
  const refused = bot.control.calls().flatMap(({ answer, parameters }) => {
    const isFine = answer?.ok !== false || /message is not modified/.test(answer.description ?? '');
    const text = corpus.find(({ chat }) => chat.id === parameters['chat_id']);
    return isFine ? [] : [`${text?.name}: ${answer.description}`];
  });
  const refusals = [...new Set(refused)];
  expect(refusals.length < posts.length / 20 ? [] : refusals).toEqual([]);
});

test('no word is lost', () => {
  const lost = corpus.flatMap(({ name, text, chat }) => {
    const posts = chat.posts();
    const shown = wordsOf(posts.flatMap(stringsOf).join('\n'));
    const seamless = posts.map((post) => post.text).join('');
    const missing = [...wordsOf(withoutMarks(text))].filter(([word, count]) => {
      return (shown.get(word) ?? 0) < count && !(word.length > 1000 && seamless.includes(word));
    });
    return missing.length === 0 ? [] : [`${name}: ${missing.map(([word]) => word).join(' ')}`];
  });
  expect(lost).toEqual([]);
});

test('nobody is pinged', () => {
  expect(corpus.some(({ text }) => text.includes('@ada_l') && pinged(text).length > 0)).toBe(true);
  const found = corpus.flatMap(({ name, chat }) =>
    chat.posts().flatMap(({ entities, rich_message }) => {
      const form = JSON.stringify([entities, rich_message]);
      return /"type":"(?:text_)?mention"|"url":"tg:/.test(form) ? [`${name}: ${form}`] : [];
    }),
  );
  expect(found).toEqual([]);
});

/** Words, and how often they are there. */
function wordsOf(text: string): Map<string, number> {
  const words = new Map<string, number>();
  for (const word of text.match(/[\p{L}\p{N}]{2,}/gu) ?? []) {
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  return words;
}

/** A Markdown without what nobody who reads it is shown: entities, line breaks, titles of links, and the numbers of items. */
function withoutMarks(text: string): string {
  return text
    .replaceAll(/&#?\w{1,20};?|<br ?\/?>/g, ' ')
    .replaceAll(/^[ \t>]*\d{1,9}[.)](?=\s)/gm, ' ')
    .replaceAll(/(\]\([^\s()]*)\s+(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\([^()\n]*\))\s*\)/g, '$1)');
}

/** All that Telegram knows of what a message says: its words, the addresses of its links, the languages of its code. */
function stringsOf({ text, entities, rich_message }: ShownMessage): string[] {
  return rich_message === null ? [text, ...strings(entities)] : strings(rich_message);
}

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) => (key === 'type' ? [] : strings(one)));
}

test('nothing of all that was lost, and nothing is there twice', async () => {
  expect(await bot.faults()).toEqual([]);
});
