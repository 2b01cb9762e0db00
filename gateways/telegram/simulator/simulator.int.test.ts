import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Api, Bot, GrammyError, HttpError, InputFile } from 'grammy';
import { afterEach, describe, expect, test } from 'vitest';
import type { TelegramSimulatorOptions } from './simulator.ts';
import { clientOf, refusalOf, stage, type Stage } from './testing.ts';

const stages: Stage[] = [];
const bots: Bot[] = [];

/** A stage that the test need not take down. */
async function setUp(options?: TelegramSimulatorOptions): Promise<Stage> {
  const made = await stage(options);
  stages.push(made);
  return made;
}

/** Lets a bot run until the test's end; its faults are rethrown by `until`. */
function run(bot: Bot): void {
  bots.push(bot);
  void bot.start().catch(() => {});
}

afterEach(async () => {
  for (const made of stages.splice(0)) await made.simulator.close();
  for (const bot of bots.splice(0)) await bot.stop().catch(() => {});
});

async function until<T>(what: string, probe: () => T | null | undefined | false): Promise<T> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const answer = probe();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await delay(5);
  }
}

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
);
const notModified =
  'Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message';

describe('a bot of grammy', () => {
  test('hears what a person says and answers', async () => {
    const { control, bot, ada } = await setUp();
    bot.on('message:text', (ctx) => ctx.reply(`you said: ${ctx.message.text}`));
    run(bot);
    const spoken = control.say({ chat_id: ada.id, text: 'hello' });
    const answer = await until('an answer', () => control.readChat({ chat_id: ada.id })[1]);
    expect(answer).toMatchObject({ text: 'you said: hello', is_from_bot: true, edits: 0 });
    const { update_id } = spoken;
    await until('its offset', () => control.confirmed().includes(update_id ?? 0));
    const [truth] = control.snapshot().updates;
    expect(truth).toMatchObject({ update_id, returned: 1, confirmed: true, text: 'hello' });
  });

  test('knows itself, its commands and its chats', async () => {
    const { simulator, control, api, ada } = await setUp({ username: 'helper_bot' });
    expect(await api.getMe()).toMatchObject({ is_bot: true, username: 'helper_bot' });
    expect((await api.getMe()).id).toBe(Number(simulator.token.split(':')[0]));
    await api.setMyCommands([{ command: 'new', description: 'begins anew' }]);
    expect(await api.getMyCommands()).toEqual([{ command: 'new', description: 'begins anew' }]);
    await api.deleteMyCommands();
    expect(await api.getMyCommands()).toEqual([]);
    expect(await api.getWebhookInfo()).toMatchObject({ url: '', pending_update_count: 0 });
    const group = control.createChat({ type: 'supergroup', title: 'Team', members: [ada.id] });
    expect(await api.getWebhookInfo()).toMatchObject({ pending_update_count: 1 });
    await api.deleteWebhook({ drop_pending_updates: true });
    expect(await api.getUpdates()).toEqual([]);
    expect(await api.getChat(group.id)).toMatchObject({ type: 'supergroup', title: 'Team' });
    expect(await api.getChatMember(group.id, ada.id)).toMatchObject({ status: 'member' });
    await api.leaveChat(group.id);
    expect(await refusalOf(api.sendMessage(group.id, 'x'))).toEqual([
      403,
      'Forbidden: bot is not a member of the supergroup chat',
    ]);
  });

  test('shows, changes and takes back a message', async () => {
    const { control, api, ada } = await setUp();
    const { message_id: id } = await api.sendMessage(ada.id, 'one');
    await api.editMessageText(ada.id, id, '<b>two</b>', { parse_mode: 'HTML' });
    expect(
      await refusalOf(api.editMessageText(ada.id, id, ' <b>two</b>', { parse_mode: 'HTML' })),
    ).toEqual([400, notModified]);
    const [shown] = control.readChat({ chat_id: ada.id });
    expect(shown).toMatchObject({ text: 'two', edits: 1, entities: [{ type: 'bold', length: 3 }] });
    expect(shown?.history.map(({ text }) => text)).toEqual(['one', 'two']);
    await api.deleteMessage(ada.id, id);
    expect(control.readChat({ chat_id: ada.id })).toEqual([]);
    expect(await refusalOf(api.deleteMessage(ada.id, id))).toEqual([
      400,
      'Bad Request: message to delete not found',
    ]);
    expect(await refusalOf(api.editMessageText(ada.id, id, 'x'))).toEqual([
      400,
      'Bad Request: message to edit not found',
    ]);
  });

  test('posts rich messages, and turns a text into one', async () => {
    const { control, api, ada } = await setUp();
    const sent = await api.sendRichMessage(ada.id, { markdown: '# Hi\n\n- **a**' });
    expect(sent.rich_message.blocks).toHaveLength(2);
    const { message_id: id } = await api.sendMessage(ada.id, 'plain');
    await api.editMessageText(ada.id, id, { html: '<p>rich</p>' });
    expect(await refusalOf(api.editMessageText(ada.id, id, { html: '<p>rich</p>' }))).toEqual([
      400,
      notModified,
    ]);
    await api.editMessageText(ada.id, id, 'plain again');
    const [, shown] = control.readChat({ chat_id: ada.id });
    expect(shown?.history.map(({ text }) => text)).toEqual(['plain', 'rich', 'plain again']);
    expect(shown?.rich_message).toBe(null);
    expect(await refusalOf(api.sendRichMessage(ada.id, { markdown: '**a' }))).toEqual([
      400,
      `Bad Request: can't parse entities: Can't find end of Bold entity at byte offset 0`,
    ]);
  });

  test('sends and fetches files', async () => {
    const { simulator, control, api, ada } = await setUp();
    const text = Buffer.from('--x\r\ncontent\r\n--', 'utf8');
    const sent = await api.sendDocument(ada.id, new InputFile(text, 'a b.txt'), { caption: 'see' });
    expect(sent).toMatchObject({
      caption: 'see',
      document: { file_name: 'a b.txt', mime_type: 'text/plain' },
    });
    await api.sendPhoto(ada.id, new InputFile(png, 'p.png'));
    await api.sendDocument(ada.id, sent.document.file_id);
    const [first, second, third] = control.readChat({ chat_id: ada.id });
    expect(first?.files).toMatchObject([{ name: 'a b.txt', size: text.length }]);
    expect(control.file({ file_id: first?.files[0]?.file_id ?? '' }).base64).toBe(
      text.toString('base64'),
    );
    expect(second?.message.photo?.at(-1)).toMatchObject({ width: 1, height: 1 });
    expect(third?.files).toEqual(first?.files);
    expect(await refusalOf(api.sendPhoto(ada.id, new InputFile(text, 'p.png')))).toEqual([
      400,
      'Bad Request: IMAGE_PROCESS_FAILED',
    ]);

    const said = control.sendFile({ chat_id: ada.id, kind: 'voice', bytes: Buffer.from('voice') });
    const [update] = await api.getUpdates();
    const { file_path: path } = await api.getFile(update?.message?.voice?.file_id ?? '');
    const download = (): Promise<Response> =>
      fetch(`${simulator.url}/file/bot${simulator.token}/${path}`);
    expect(await (await download()).text()).toBe('voice');
    expect(said.file.size).toBe(5);
    control.advanceClock({ ms: 3_600_001 });
    expect((await download()).status).toBe(404);
  });

  test('meets the size limits of files', async () => {
    const { control, api, ada } = await setUp();
    const big = Buffer.alloc(20 * 1024 * 1024 + 1);
    control.sendFile({ chat_id: ada.id, kind: 'document', bytes: big, name: 'big.bin' });
    const [update] = await api.getUpdates();
    expect(await refusalOf(api.getFile(update?.message?.document?.file_id ?? ''))).toEqual([
      400,
      'Bad Request: file is too big',
    ]);
    const huge = new InputFile(Buffer.alloc(50 * 1024 * 1024 + 1), 'huge.bin');
    expect(await refusalOf(api.sendDocument(ada.id, huge))).toEqual([
      413,
      'Request Entity Too Large',
    ]);
    const fair = new InputFile(Buffer.alloc(50 * 1024 * 1024), 'fair.bin');
    expect((await api.sendDocument(ada.id, fair)).document.file_size).toBe(50 * 1024 * 1024);
  });

  test('gets presses and answers them in time, once', async () => {
    const { control, api, ada } = await setUp();
    const keyboard = {
      inline_keyboard: [
        [
          { text: 'Yes', callback_data: 'y' },
          { text: 'No', callback_data: 'n' },
        ],
      ],
    };
    const { message_id } = await api.sendMessage(ada.id, 'Well?', { reply_markup: keyboard });
    const press = control.press({ chat_id: ada.id, message_id, text: 'No' });
    const [update] = await api.getUpdates();
    expect(update?.callback_query).toMatchObject({
      id: press.callback_query_id,
      data: 'n',
      from: { id: ada.id },
      message: { message_id, text: 'Well?' },
    });
    await api.answerCallbackQuery(press.callback_query_id, { text: 'noted' });
    expect(control.presses()).toMatchObject([{ data: 'n', answer: { text: 'noted' } }]);
    const late = [
      400,
      'Bad Request: query is too old and response timeout expired or query ID is invalid',
    ];
    expect(await refusalOf(api.answerCallbackQuery(press.callback_query_id))).toEqual(late);
    const next = control.press({ chat_id: ada.id, message_id, data: 'y' });
    control.advanceClock({ ms: 61_000 });
    expect(await refusalOf(api.answerCallbackQuery(next.callback_query_id))).toEqual(late);
    await api.editMessageReplyMarkup(ada.id, message_id);
    expect(() => control.press({ chat_id: ada.id, message_id, data: 'y' })).toThrow(
      'no such button',
    );
    expect(await refusalOf(api.editMessageReplyMarkup(ada.id, message_id))).toEqual([
      400,
      notModified,
    ]);
  });

  test('streams a draft until a person stops it', async () => {
    const { control, api, ada } = await setUp();
    await api.sendMessageDraft(ada.id, 5, 'thin', { can_stop: true });
    await api.sendRichMessageDraft(ada.id, 5, { markdown: 'think**ing**' }, { can_stop: true });
    expect(control.drafts()).toMatchObject([
      {
        draft_id: 5,
        text: 'thinking',
        is_shown: true,
        history: [{ text: 'thin' }, { text: 'thinking' }],
      },
    ]);
    control.stopDraft({ chat_id: ada.id });
    const [update] = await api.getUpdates();
    expect(update?.stopped_message_generation).toMatchObject({ draft_id: 5, chat: { id: ada.id } });
    expect(control.drafts()).toMatchObject([{ is_shown: false }]);
    await api.sendMessageDraft(ada.id, 6, 'again');
    await api.sendMessage(ada.id, 'done');
    expect(control.drafts().map(({ is_shown }) => is_shown)).toEqual([false, false]);
    await api.sendMessageDraft(ada.id, 7, 'old');
    control.advanceClock({ ms: 31_000 });
    expect(control.drafts().some(({ is_shown }) => is_shown)).toBe(false);
    expect(await refusalOf(api.sendMessageDraft(ada.id, 0, 'x'))).toEqual([
      400,
      'Bad Request: RANDOM_ID_INVALID',
    ]);
  });

  test('shows that it types, for five seconds', async () => {
    const { control, api, ada } = await setUp();
    await api.sendChatAction(ada.id, 'typing');
    expect(control.typing({ chat_id: ada.id })).toMatchObject({ action: 'typing' });
    control.advanceClock({ ms: 5001 });
    expect(control.typing({ chat_id: ada.id })).toBe(null);
    await api.sendChatAction(ada.id, 'typing');
    await api.sendMessage(ada.id, 'x');
    expect(control.typing({ chat_id: ada.id })).toBe(null);
  });
});

describe('people and chats', () => {
  test('mention, reply, edit, and share places', async () => {
    const { control, api, ada } = await setUp({ username: 'helper_bot' });
    const group = control.createChat({ type: 'supergroup', title: 'Team' });
    const place = { chat_id: group.id, user_id: ada.id };
    const mine = await api.sendMessage(group.id, 'I am here');
    control.say({ ...place, text: 'hey @helper_bot' });
    const { message_id } = control.say({ ...place, text: 'thanks', reply_to: mine.message_id });
    control.edit({ chat_id: group.id, message_id, text: 'thank you' });
    control.sendLocation({ ...place, latitude: 45, longitude: 7 });
    control.sendContact({ ...place, phone_number: '+390115550100', first_name: 'Grace' });
    control.sendOther({ ...place, fields: { dice: { emoji: '🎲', value: 6 } } });
    const updates = await api.getUpdates();
    expect(control.updates().map(({ type }) => type)).toEqual([
      'message',
      'message',
      'edited_message',
      'message',
      'message',
      'message',
    ]);
    expect(updates[0]?.message?.entities).toEqual([{ type: 'mention', offset: 4, length: 11 }]);
    expect(updates[1]?.message?.reply_to_message).toMatchObject({
      text: 'I am here',
      from: { is_bot: true },
    });
    expect(updates[2]?.edited_message).toMatchObject({ text: 'thank you', message_id });
    expect(updates[3]?.message?.location).toMatchObject({ latitude: 45 });
    const answer = await api.sendMessage(group.id, 'yes', { reply_parameters: { message_id } });
    expect(answer.reply_to_message).toMatchObject({ text: 'thank you' });
    expect(
      await refusalOf(api.sendMessage(group.id, 'x', { reply_parameters: { message_id: 999 } })),
    ).toEqual([400, 'Bad Request: message to be replied not found']);
    await api.sendMessage(group.id, 'x', {
      reply_parameters: { message_id: 999, allow_sending_without_reply: true },
    });
  });

  test('speak in topics', async () => {
    const { control, api, ada } = await setUp();
    const forum = control.createChat({ type: 'supergroup', title: 'Forum', is_forum: true });
    const { message_thread_id: thread } = control.createTopic({
      chat_id: forum.id,
      user_id: ada.id,
      name: 'One',
    });
    control.say({ chat_id: forum.id, user_id: ada.id, text: 'in it', thread_id: thread });
    await api.sendMessage(forum.id, 'me too', { message_thread_id: thread });
    await api.sendMessage(forum.id, 'in General');
    const seen = control.readChat({ chat_id: forum.id, thread_id: thread });
    expect(seen.map(({ text }) => text)).toEqual(['', 'in it', 'me too']);
    const updates = await api.getUpdates();
    expect(updates[1]?.message).toMatchObject({
      message_thread_id: thread,
      is_topic_message: true,
      // As Telegram has it: what replies to nothing replies to the topic's beginning.
      reply_to_message: { message_id: thread, forum_topic_created: { name: 'One' } },
    });
    const missing = [400, 'Bad Request: message thread not found'];
    expect(await refusalOf(api.sendMessage(forum.id, 'x', { message_thread_id: 1 }))).toEqual(
      missing,
    );
    expect(await refusalOf(api.sendMessage(ada.id, 'x', { message_thread_id: thread }))).toEqual(
      missing,
    );
    control.changeTopic({ chat_id: forum.id, message_thread_id: thread, is_closed: true });
    expect(await refusalOf(api.sendMessage(forum.id, 'x', { message_thread_id: thread }))).toEqual([
      400,
      'Bad Request: TOPIC_CLOSED',
    ]);
    control.changeTopic({ chat_id: forum.id, message_thread_id: thread, is_deleted: true });
    expect(
      await refusalOf(api.sendChatAction(forum.id, 'typing', { message_thread_id: thread })),
    ).toEqual(missing);
  });

  test('block the bot, throw it out, and move to a supergroup', async () => {
    const { control, api, ada } = await setUp();
    control.block({ user_id: ada.id });
    expect(await refusalOf(api.sendMessage(ada.id, 'x'))).toEqual([
      403,
      'Forbidden: bot was blocked by the user',
    ]);
    expect(() => control.say({ chat_id: ada.id, text: 'x' })).toThrow('unblock');
    control.unblock({ user_id: ada.id });
    await api.sendMessage(ada.id, 'x');
    const group = control.createChat({ type: 'group', title: 'Small', members: [ada.id] });
    const moved = control.migrate({ chat_id: group.id });
    expect(await refusalOf(api.sendMessage(group.id, 'x'))).toEqual([
      400,
      'Bad Request: group chat was upgraded to a supergroup chat',
      { migrate_to_chat_id: moved.chat_id },
    ]);
    await api.sendMessage(moved.chat_id, 'x');
    control.setBotStatus({ chat_id: moved.chat_id, user_id: ada.id, bot: 'kicked' });
    expect(await refusalOf(api.sendMessage(moved.chat_id, 'x'))).toEqual([
      403,
      'Forbidden: bot was kicked from the supergroup chat',
    ]);
    expect(control.say({ chat_id: moved.chat_id, user_id: ada.id, text: 'x' }).update_id).toBe(
      null,
    );
    const updates = await api.getUpdates();
    const statuses = updates.flatMap(({ my_chat_member: it }) =>
      it === undefined ? [] : [it.new_chat_member.status],
    );
    expect(statuses).toEqual(['kicked', 'member', 'member', 'kicked']);
    expect(
      updates.flatMap(
        ({ message }) => message?.migrate_to_chat_id ?? message?.migrate_from_chat_id ?? [],
      ),
    ).toEqual([moved.chat_id, group.id]);
  });

  test('are strangers before they wrote', async () => {
    const { control, api } = await setUp();
    const bob = control.createUser({ first_name: 'Bob' });
    const group = control.createChat({ type: 'supergroup', title: 'Team' });
    expect(await refusalOf(api.sendMessage(bob.id, 'x'))).toEqual([
      400,
      'Bad Request: chat not found',
    ]);
    control.say({ chat_id: group.id, user_id: bob.id, text: 'hi' });
    expect(await refusalOf(api.sendMessage(bob.id, 'x'))).toEqual([
      403,
      `Forbidden: bot can't initiate conversation with a user`,
    ]);
    control.say({ chat_id: bob.id, text: 'hi' });
    await api.sendMessage(bob.id, 'x');
  });

  test('are not all heard in privacy mode', async () => {
    const { control, api, ada } = await setUp({ privacy: true, username: 'helper_bot' });
    const group = control.createChat({ type: 'supergroup', title: 'Team' });
    const mine = await api.sendMessage(group.id, 'I am here');
    const say = (text: string, reply_to?: number): boolean =>
      control.say({
        chat_id: group.id,
        user_id: ada.id,
        text,
        ...(reply_to === undefined ? {} : { reply_to }),
      }).update_id !== null;
    expect([
      say('x'),
      say('@helper_bot x'),
      say('/x'),
      say('/x@other_bot'),
      say('x', mine.message_id),
    ]).toEqual([false, true, true, false, true]);
  });

  test('of a channel are heard as the channel', async () => {
    const { control, api } = await setUp();
    const channel = control.createChat({ type: 'channel', title: 'News', username: 'the_news' });
    control.say({ chat_id: channel.id, text: 'new' });
    const [update] = await api.getUpdates();
    expect(update?.channel_post).toMatchObject({ text: 'new', sender_chat: { id: channel.id } });
    const { message_id } = await api.sendMessage('@the_news', 'mine');
    expect(control.readChat({ chat_id: channel.id })[1]).toMatchObject({
      message_id,
      is_from_bot: true,
    });
  });

  test('may be recorded ones', async () => {
    const { control, api } = await setUp();
    const fixture = await import('../fixtures/callback-query.json', { with: { type: 'json' } });
    const update = JSON.parse(JSON.stringify(fixture.default)) as Parameters<
      typeof control.deliver
    >[0]['update'];
    const { update_id } = control.deliver({ update });
    const [got] = await api.getUpdates();
    expect(got).toEqual({ ...update, update_id });
  });
});

describe('what is too long or wrong', () => {
  test('is refused in Telegram’s words', async () => {
    const { simulator, api, ada } = await setUp();
    await api.sendMessage(ada.id, '🔥'.repeat(2048));
    await api.sendMessage(ada.id, `<b>${'x'.repeat(4096)}</b>`, { parse_mode: 'HTML' });
    const { message_id } = await api.sendMessage(ada.id, 'x');
    const long = 'x'.repeat(4097);
    const markup = (data: string) => ({
      reply_markup: { inline_keyboard: [[{ text: 'a', callback_data: data }]] },
    });
    await api.sendMessage(ada.id, 'x', markup('x'.repeat(64)));
    const stranger = new Api(`1${simulator.token}`, clientOf(simulator));
    const nobody = new Api('x', clientOf(simulator));
    const refused: [Promise<unknown>, number, string][] = [
      [api.sendMessage(ada.id, long), 400, 'Bad Request: message is too long'],
      [api.sendMessage(ada.id, ''), 400, 'Bad Request: message text is empty'],
      [api.sendMessage(ada.id, ' '), 400, 'Bad Request: text must be non-empty'],
      [api.editMessageText(ada.id, message_id, long), 400, 'Bad Request: MESSAGE_TOO_LONG'],
      [api.sendMessage(1, 'x'), 400, 'Bad Request: chat not found'],
      [api.sendMessage('', 'x'), 400, 'Bad Request: chat_id is empty'],
      [api.sendMessage(ada.id, 'x', markup('')), 400, 'Bad Request: BUTTON_DATA_INVALID'],
      [
        api.sendMessage(ada.id, 'x', markup('é'.repeat(33))),
        400,
        'Bad Request: BUTTON_DATA_INVALID',
      ],
      [
        api.sendDocument(ada.id, 'nothing'),
        400,
        'Bad Request: wrong file identifier/HTTP URL specified',
      ],
      [
        api.sendDocument(ada.id, 'https://a.example/b'),
        400,
        'Bad Request: failed to get HTTP URL content',
      ],
      [
        api.sendDocument(ada.id, new InputFile(png), { caption: 'x'.repeat(1025) }),
        400,
        'Bad Request: message caption is too long',
      ],
      [stranger.getMe(), 401, 'Unauthorized'],
      [nobody.getMe(), 404, 'Not Found'],
      [api.getStarTransactions(), 404, 'Not Found: method not found'],
    ];
    for (const [call, code, description] of refused) {
      expect(await refusalOf(call)).toEqual([code, description]);
    }
  });

  test('is refused beyond 48 hours, and for what others said', async () => {
    const { control, api, ada } = await setUp();
    const group = control.createChat({ type: 'supergroup', title: 'Team' });
    const theirs = control.say({ chat_id: group.id, user_id: ada.id, text: 'x' });
    const mine = await api.sendMessage(group.id, 'x');
    expect(await refusalOf(api.deleteMessage(group.id, theirs.message_id))).toEqual([
      400,
      `Bad Request: message can't be deleted`,
    ]);
    expect(await refusalOf(api.editMessageText(group.id, theirs.message_id, 'y'))).toEqual([
      400,
      `Bad Request: message can't be edited`,
    ]);
    control.advanceClock({ ms: 48 * 3_600_000 + 1000 });
    expect(await refusalOf(api.deleteMessage(group.id, mine.message_id))).toEqual([
      400,
      `Bad Request: message can't be deleted for everyone`,
    ]);
  });

  test('is refused when it comes too fast, if so wished', async () => {
    const { control, api, ada } = await setUp({ limits: 'telegram' });
    const group = control.createChat({ type: 'supergroup', title: 'Team' });
    const { message_id } = await api.sendMessage(ada.id, '0');
    await api.editMessageText(ada.id, message_id, '1');
    await api.editMessageText(ada.id, message_id, '2');
    expect(await refusalOf(api.editMessageText(ada.id, message_id, '3'))).toEqual([
      429,
      'Too Many Requests: retry after 1',
      { retry_after: 1 },
    ]);
    control.advanceClock({ ms: 1000 });
    await api.editMessageText(ada.id, message_id, '3');
    // One a second is taken from one person, but twenty a minute from a group: after thirty seconds
    // the twenty are gone, and the ten that came back.
    let refusal: unknown = null;
    let posted = 0;
    for (; refusal === null && posted < 60; posted++) {
      control.advanceClock({ ms: 1000 });
      refusal = await api.sendMessage(group.id, `${posted}`).then(
        () => null,
        (error: unknown) => error,
      );
    }
    expect(refusal).toMatchObject({
      error_code: 429,
      parameters: { retry_after: expect.any(Number) as number },
    });
    expect(posted).toBeGreaterThan(25);
    expect(posted).toBeLessThan(35);
    control.setLimits({ limits: 'off' });
    for (let count = 0; count < 40; count++) await api.sendMessage(group.id, 'x');
  });
});

describe('faults', () => {
  test('come before a call or after it, by number', async () => {
    const { control, api, ada } = await setUp();
    const methods = ['sendMessage'];
    control.addFault({ methods, nth: 1, fault: { type: 'retry_after', seconds: 7 } });
    control.addFault({ methods, nth: 2, fault: { type: 'status', code: 500 } });
    control.addFault({
      methods,
      nth: 3,
      fault: { type: 'status', code: 502, html: true, processed: true },
    });
    control.addFault({ methods, nth: 4, fault: { type: 'cut', when: 'before' } });
    control.addFault({ methods, nth: 5, fault: { type: 'cut', when: 'after' } });
    control.addFault({ methods, nth: 6, fault: { type: 'cut', when: 'body' } });
    control.addFault({ methods, nth: 7, fault: { type: 'slow', ms: 20 } });
    const outcomes: string[] = [];
    for (let count = 1; count <= 8; count++) {
      await api.sendMessage(ada.id, String(count)).then(
        () => outcomes.push('ok'),
        (error: unknown) => {
          if (error instanceof GrammyError)
            outcomes.push(`${error.error_code} ${error.parameters.retry_after ?? ''}`);
          else outcomes.push(error instanceof HttpError ? 'http' : 'other');
        },
      );
    }
    expect(outcomes).toEqual(['429 7', '500 ', 'http', 'http', 'http', 'http', 'ok', 'ok']);
    expect(control.readChat({ chat_id: ada.id }).map(({ text }) => text)).toEqual([
      '3',
      '5',
      '6',
      '7',
      '8',
    ]);
    expect(control.calls({ method: 'sendMessage' }).map(({ outcome }) => outcome)).toEqual([
      'answered',
      'answered',
      'answered',
      'cut',
      'cut',
      'cut',
      'answered',
      'answered',
    ]);
    expect(control.faults().every(({ fired }) => fired === 1)).toBe(true);
    control.removeFault();
    expect(control.faults()).toEqual([]);
  });

  test('come with a chance that the seed decides', async () => {
    const runs = await Promise.all(
      [1, 1, 2].map(async (seed) => {
        const { control, api, ada } = await setUp({ seed });
        control.addFault({ fault: { type: 'status', code: 500 }, probability: 0.5, times: 8 });
        const outcomes: boolean[] = [];
        for (let count = 0; count < 20; count++) {
          outcomes.push(
            await api.sendMessage(ada.id, 'x').then(
              () => true,
              () => false,
            ),
          );
        }
        return outcomes.join();
      }),
    );
    expect(runs[0]).toBe(runs[1]);
    expect(runs[0]).not.toBe(runs[2]);
    expect(runs[0]?.match(/false/g)?.length).toBeLessThanOrEqual(8);
  });

  test('reorder and repeat updates', async () => {
    const { control, api, ada } = await setUp();
    const ids = [1, 2, 3, 4, 5, 6].map(
      (n) => control.say({ chat_id: ada.id, text: `${n}` }).update_id ?? 0,
    );
    control.addFault({ methods: ['getUpdates'], nth: 1, fault: { type: 'reorder' } });
    control.addFault({ methods: ['getUpdates'], nth: 3, fault: { type: 'redeliver', back: 2 } });
    const poll = async (offset: number): Promise<number[]> =>
      (await api.getUpdates({ offset })).map(({ update_id }) => update_id);
    const mixed = await poll(0);
    expect(mixed).not.toEqual(ids);
    expect(mixed.toSorted((a, b) => a - b)).toEqual(ids);
    const next = (ids.at(-1) ?? 0) + 1;
    expect(await poll(next)).toEqual([]);
    expect(await poll(next)).toEqual(ids.slice(-2));
    expect(await poll(next)).toEqual([]);
  });

  test('are told apart from answers that went out', async () => {
    const { control, api, ada } = await setUp();
    control.say({ chat_id: ada.id, text: 'x' });
    for (const when of ['before', 'after', 'body'] as const) {
      control.addFault({ methods: ['getUpdates'], times: 1, fault: { type: 'cut', when } });
      await expect(api.getUpdates()).rejects.toThrow('getUpdates');
    }
    expect(control.updates()).toMatchObject([{ offered: 2, returned: 0, confirmed: false }]);
    await api.getUpdates();
    await until('the answer', () => control.updates()[0]?.returned === 1);
    expect(control.updates()).toMatchObject([{ offered: 3, confirmed: false }]);
  });

  test('that lose an answer to getUpdates lose no update', async () => {
    const { control, bot, ada } = await setUp();
    const heard: string[] = [];
    bot.on('message:text', (ctx) => void heard.push(ctx.message.text));
    control.addFault({
      methods: ['getUpdates'],
      every: 2,
      times: 6,
      fault: { type: 'cut', when: 'after' },
    });
    control.addFault({
      methods: ['getUpdates'],
      every: 3,
      times: 6,
      fault: { type: 'cut', when: 'body' },
    });
    run(bot);
    for (let n = 0; n < 5; n++) control.say({ chat_id: ada.id, text: `${n}` });
    await until('all of them', () => heard.length >= 5);
    expect([...new Set(heard)].toSorted()).toEqual(['0', '1', '2', '3', '4']);
  });
});

describe('a client that leaves', () => {
  /** A call over a plain socket; `leave` ends it at once. */
  async function open(
    { simulator }: Stage,
    method: string,
    body: string,
  ): Promise<{ leave: () => void; text: () => string }> {
    const socket = connect(Number(new URL(simulator.url).port), '127.0.0.1');
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
    socket.on('error', () => {});
    await once(socket, 'connect');
    const length = Buffer.byteLength(body);
    socket.write(
      `POST /bot${simulator.token}/${method} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`,
    );
    return { leave: () => socket.destroy(), text: () => text };
  }

  test('in a long poll takes no update with it and is no second poller', async () => {
    const made = await setUp();
    const { control, api, ada } = made;
    const poll = await open(made, 'getUpdates', '{"timeout":50}');
    await until('the poll', () => control.bot().is_polling);
    poll.leave();
    await until('its end', () => !control.bot().is_polling);
    const { update_id } = control.say({ chat_id: ada.id, text: 'x' });
    expect(control.updates()).toMatchObject([{ offered: 0, state: 'waiting' }]);
    expect((await api.getUpdates({ timeout: 5 })).map((update) => update.update_id)).toEqual([
      update_id,
    ]);
    expect(control.calls({ method: 'getUpdates' }).map(({ outcome }) => outcome)).toEqual([
      'vanished',
      'answered',
    ]);
  });

  test('in the middle of its request changes nothing', async () => {
    const made = await setUp();
    const { control, ada } = made;
    const socket = connect(Number(new URL(made.simulator.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `POST /bot${made.simulator.token}/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"chat_id":${ada.id},"text":"x"`,
    );
    await delay(20);
    socket.destroy();
    await made.api.getMe();
    expect(control.readChat({ chat_id: ada.id })).toEqual([]);
    expect(control.calls().map(({ method }) => method)).toEqual(['getMe']);
  });

  test('after its request has posted all the same', async () => {
    const made = await setUp();
    const { control, ada } = made;
    control.addFault({ fault: { type: 'slow', ms: 10_000 } });
    const call = await open(made, 'sendMessage', JSON.stringify({ chat_id: ada.id, text: 'x' }));
    await until('the message', () => control.readChat({ chat_id: ada.id }).length === 1);
    call.leave();
    await until('that it is noticed', () => control.calls()[0]?.outcome === 'vanished');
  });

  test('and another that polls are told apart', async () => {
    const { simulator, control } = await setUp();
    const one = new Bot(simulator.token, { client: clientOf(simulator) });
    const failure = one.start().then(
      () => null,
      (error: unknown) => error,
    );
    await until('its poll', () => control.bot().is_polling);
    const two = new Api(simulator.token, clientOf(simulator));
    const second = two.getUpdates({ timeout: 50 });
    expect(await failure).toMatchObject({
      error_code: 409,
      description:
        'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running',
    });
    await simulator.close();
    await expect(second).rejects.toThrow('getUpdates');
  });
});

describe('over HTTP', () => {
  async function control(made: Stage, name: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${made.simulator.url}/control/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return response.json();
  }

  test('the control API does the same', async () => {
    const made = await setUp();
    const { result: bob } = (await control(made, 'createUser', { first_name: 'Bob' })) as {
      result: { id: number };
    };
    const said = await control(made, 'say', { chat_id: bob.id, text: 'hi' });
    expect(said).toMatchObject({ ok: true, result: { message_id: expect.any(Number) as number } });
    await made.api.sendMessage(bob.id, 'hello', {
      reply_markup: { inline_keyboard: [[{ text: 'A', callback_data: 'a' }]] },
    });
    const { result: chat } = (await control(made, 'readChat', { chat_id: bob.id })) as {
      result: { message_id: number }[];
    };
    expect(chat).toMatchObject([{ text: 'hi' }, { text: 'hello', buttons: [[{ text: 'A' }]] }]);
    const message_id = chat[1]?.message_id;
    expect(await control(made, 'press', { chat_id: bob.id, message_id, data: 'a' })).toMatchObject({
      ok: true,
    });
    await control(made, 'sendFile', {
      chat_id: bob.id,
      kind: 'document',
      bytes: png.toString('base64'),
      name: 'p.png',
    });
    expect(
      await control(made, 'addFault', { fault: { type: 'status', code: 500 }, times: 1 }),
    ).toMatchObject({ ok: true });
    expect(await refusalOf(made.api.getMe())).toEqual([500, 'Internal Server Error']);
    expect(await control(made, 'snapshot')).toMatchObject({
      ok: true,
      result: { updates: [{}, {}, {}], messages: [{}, {}, {}] },
    });
    expect(await control(made, 'removeFault', {})).toEqual({ ok: true, result: null });
  });

  test.each([
    ['nothing', {}, 'there is no /control/nothing'],
    ['say', {}, 'chat_id must be a whole number'],
    ['say', { chat_id: 1, text: 'x' }, 'there is no chat 1: create it first'],
    ['say', { chat_id: 1, text: 'x', txt: 'y' }, 'has no field "txt"; its fields: chat_id'],
    ['advanceClock', { ms: -1 }, 'the clock moves ahead only'],
    ['addFault', { fault: { type: 'cut' } }, 'when must be one of before, after, body'],
    ['createChat', { type: 'party', title: 'x' }, 'type must be one of group, supergroup, channel'],
  ])('%s %j is refused with what to do', async (name, body, reason) => {
    const made = await setUp();
    const answer = await control(made, name, body);
    expect(answer).toMatchObject({
      ok: false,
      error_code: 400,
      description: expect.stringContaining(reason) as string,
    });
  });

  test('calls come as queries, forms and JSON, in any case', async () => {
    const { simulator, control: typed, ada } = await setUp();
    const call = `${simulator.url}/bot${simulator.token}/SENDmessage`;
    await fetch(`${call}?chat_id=${ada.id}&text=one`);
    await fetch(call, {
      method: 'POST',
      body: new URLSearchParams({ chat_id: `${ada.id}`, text: 'two' }),
    });
    const form = new FormData();
    form.set('chat_id', String(ada.id));
    form.set('text', 'three');
    form.set(
      'reply_markup',
      JSON.stringify({ inline_keyboard: [[{ text: 'A', callback_data: 'a' }]] }),
    );
    await fetch(call, { method: 'POST', body: form });
    const broken = await fetch(call, {
      method: 'POST',
      body: '{',
      headers: { 'content-type': 'application/json' },
    });
    expect(await broken.json()).toMatchObject({ ok: false, error_code: 400 });
    expect(typed.readChat({ chat_id: ada.id }).map(({ text }) => text)).toEqual([
      'one',
      'two',
      'three',
    ]);
  });

  test('a page in a browser is turned away', async () => {
    const { simulator } = await setUp();
    const response = await fetch(`${simulator.url}/control/snapshot`, {
      method: 'POST',
      headers: { origin: 'http://a.example' },
    });
    expect(response.status).toBe(403);
  });
});

test('the seed decides ids and tokens', async () => {
  const [one, same, other] = await Promise.all([
    setUp({ seed: 4 }),
    setUp({ seed: 4 }),
    setUp({ seed: 5 }),
  ]);
  expect([one.simulator.token, one.ada.id]).toEqual([same.simulator.token, same.ada.id]);
  expect(one.simulator.token).not.toBe(other.simulator.token);
});
