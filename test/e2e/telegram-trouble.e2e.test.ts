import { afterEach, expect, test } from 'vitest';
import type { ReloadReport } from '@duragent/protocol';
import { type BotOptions, TelegramBot } from '../support/telegram.ts';
import { until } from '../support/until.ts';
import { Workspace } from '../support/duragent.ts';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one[Symbol.asyncDispose]()));
});

async function prepare(options: Partial<BotOptions> = {}): Promise<TelegramBot> {
  const bot = await TelegramBot.prepare({ agents: { echo: 'model: echo' }, ...options });
  open.push(bot);
  return bot;
}

/** Waits until the gateway has given up. @returns why. */
async function reasonOf(bot: TelegramBot): Promise<string> {
  const view = await until('the gateway has given up', async () => {
    const now = await bot.gateway();
    return now.state === 'fatal' && now;
  });
  return (view && view.reason) || '';
}

test('a token that Telegram does not know is said, the server stays, and a reload mends it', async () => {
  const bot = await prepare();
  const secret = 'AAwrong-canary-token-AAAAAAAAAAAAAAAA';
  await bot.configure('', { bot_token: `1234567890:${secret}` });
  const run = await bot.serve();
  const reason = await reasonOf(bot);
  expect(reason).toMatch(/Telegram does not know this bot token .*@BotFather/);
  const { api } = bot.server;
  expect((await api.call('GET', '/readyz')).status).toBe(200);
  const { session } = await api.createSession();
  expect(await api.ask(session, 'still here?')).toMatchObject({ outcome: 'completed' });
  const list = bot.workspace.run(['gateway', 'list']);
  await list.exit();
  expect(list.stdout).toMatch(/^telegram +fatal .*does not know this bot token/m);
  const logs = await api.get('/admin/gateways/telegram/logs');
  expect(`${list.stdout}${logs.text}${run.stdout}${run.stderr}`).not.toContain(secret);

  await bot.configure('');
  const { body } = await api.post<ReloadReport>('/admin/reload');
  expect(body.gateways?.restarted).toEqual(['telegram']);
  await bot.ready();
  const ann = bot.person('Ann');
  ann.say('and now?');
  await ann.shows(/: and now\?$/);
  expect(run.isRunning).toBe(true);
});

test('of two servers with one token the first is told so, and stays; the chats go on with the other', async () => {
  const bot = await prepare();
  await bot.serve();
  await bot.ready();
  const ann = bot.person('Ann');
  ann.say('before');
  await ann.shows(/: before$/);

  const other = await Workspace.create({ other: 'model: echo\naccess: { dm: { policy: open } }' });
  open.push({ [Symbol.asyncDispose]: () => other.close() });
  const config = `{ bot_token: "${bot.telegram.token}", api_root: "${bot.telegram.url}" }`;
  await other.configure(
    `gateways: { external: [ { name: telegram, command: duragent-gateway-telegram, config: ${config} } ] }`,
  );
  await other.serve();
  expect(await reasonOf(bot)).toMatch(/another process uses this bot's token .*end it/);
  expect(bot.server.run.isRunning).toBe(true);
  ann.say('after');
  await until('the other answers', () => ann.texts().at(-1)?.endsWith(': after'));
  expect(ann.texts()).toHaveLength(2);
});
