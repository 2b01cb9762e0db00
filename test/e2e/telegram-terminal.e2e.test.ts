import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startAnsweringModel } from '../support/answering-model.ts';
import { modelAgent } from '../support/model-agent.ts';
import type { ModelServer } from '../support/model-server.ts';
import { needs } from '../support/needs.ts';
import { TelegramBot } from '../support/telegram.ts';
import { Terminal } from '../support/terminal.ts';

const isHere = needs('tmux');
let model: ModelServer;
let bot: TelegramBot;
beforeAll(async () => {
  if (!isHere) return;
  model = await startAnsweringModel();
  bot = await TelegramBot.start({ agents: { plain: modelAgent(model.url) } });
});
afterAll(async () => {
  await bot?.[Symbol.asyncDispose]();
  await model?.close();
});

describe.skipIf(!isHere)('a chat in a terminal', () => {
  test('is the same conversation, and each side sees what the other says', async () => {
    const ann = bot.person('Ann');
    ann.say('from the phone');
    await ann.shows('You said: from the phone');
    const terminal = await Terminal.open(bot.workspace, ['attach', `telegram:${ann.id}`]);
    try {
      await terminal.shows('Ann (telegram): from the phone');
      await terminal.shows('You said: from the phone');
      await terminal.type('from the desk');
      await terminal.shows('You said: from the desk');
      const mirrored = /^\S+ \(terminal\): from the desk$/;
      const shown = ['You said: from the phone', mirrored, 'You said: from the desk'];
      await ann.shows(...shown);
      ann.say('on the phone again');
      await terminal.shows('Ann (telegram): on the phone again');
      await terminal.shows('You said: on the phone again');
      shown.push('You said: on the phone again');
      await ann.shows(...shown);

      await bot.killGateway();
      await bot.endServer();
      await terminal.shows('Connection lost');
      await bot.serve();
      await bot.ready();
      await terminal.shows('Connected again');
      await terminal.type('and after all that');
      await terminal.shows('You said: and after all that');
      await ann.shows(
        ...shown,
        /^\S+ \(terminal\): and after all that$/,
        'You said: and after all that',
      );
      await terminal.press('C-d');
      expect(await terminal.exit()).toBe(0);
      expect(await bot.faults()).toEqual([]);
    } finally {
      await terminal.close();
    }
  });
});
