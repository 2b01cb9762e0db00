import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CommandOf, GatewayRequest } from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { FaultRule } from '../simulator/faults.ts';
import { startTelegramSimulator, type TelegramSimulator } from '../simulator/simulator.ts';
import { Outbound } from './outbound.ts';
import { openApi } from './outbound/calls.ts';
import type { Failure } from './outbound/failure.ts';
import { Pacer } from './outbound/pacer.ts';

type Request = Exclude<GatewayRequest, CommandOf<'ping'>>;
type Send = Partial<CommandOf<'send_message'>>;

/** What a call answers instead of Telegram; undefined: Telegram does. */
type Script = (
  method: string,
  body: string,
) => Promise<Response | undefined> | Response | undefined;

let simulator: TelegramSimulator;
let control: TelegramSimulator['control'];
let ada: number;
let script: Script;
let outbound: Outbound;
const posted: { id: string; messageId: string }[] = [];
const migrations: [number, number][] = [];
const faults: { what: string; failure: Failure }[] = [];
const never = new AbortController().signal;

beforeEach(async () => {
  simulator = await startTelegramSimulator();
  ({ control } = simulator);
  ada = control.createUser({ first_name: 'Ada', started: true }).id;
  script = () => undefined;
  for (const list of [posted, migrations, faults]) list.length = 0;
  outbound = newOutbound('edit');
});

afterEach(async () => {
  outbound.close();
  await simulator.close();
});

function newOutbound(streaming: 'edit' | 'draft'): Outbound {
  const api = openApi({
    token: simulator.token,
    apiRoot: simulator.url,
    timeoutSeconds: 10,
    fetch: async (url, init) => {
      const method = typeof url === 'string' ? (url.split('/').at(-1) ?? '') : '';
      const scripted = await script(method, typeof init?.body === 'string' ? init.body : '');
      return scripted ?? fetch(url, init);
    },
  });
  return new Outbound({
    api,
    uploads: api,
    streaming,
    previewPosted: (id, messageId) => posted.push({ id, messageId }),
    chatMigrated: (from, to) => migrations.push([from, to]),
    onFault: (what, failure) => faults.push({ what, failure }),
    // A thousand seconds in one: the pace has tests of its own.
    pacer: new Pacer(() => performance.now() * 1000),
  });
}

function request(fields: Request): Promise<AnswerBody> {
  return outbound.request(fields, { signal: never });
}

function send(content: string, fields: Send = {}): Promise<AnswerBody> {
  return request({
    type: 'send_message',
    request_id: 'r',
    chat_id: String(ada),
    content,
    format: 'markdown',
    part: 1,
    parts: 1,
    ...fields,
  });
}

function preview(content: string, id = 'p1', chat = ada): void {
  outbound.preview({ type: 'preview_message', preview_id: id, chat_id: String(chat), content });
}

function refuse(error_code: number, description: string): Response {
  return Response.json({ ok: false, error_code, description: `Bad Request: ${description}` });
}

function messages(chat = ada) {
  return control.readChat({ chat_id: chat }).filter(({ is_from_bot: isOurs }) => isOurs);
}

/** The calls so far, without the polls. */
function calls(): string[] {
  return control.calls().map(({ method }) => method);
}

function addFault(fault: FaultRule['fault'], methods: string[], rest: Partial<FaultRule> = {}) {
  control.addFault({ fault, methods, times: 1, ...rest });
}

function idOf(answer: AnswerBody): string {
  if (answer.type !== 'command_ok' || answer.message_id === undefined) {
    throw new Error(`no message: ${JSON.stringify(answer)}`);
  }
  return answer.message_id;
}

describe('a message', () => {
  test('of Markdown is posted as a rich one', async () => {
    const id = idOf(await send('Hello **you**'));
    const [message] = messages();
    expect(message).toMatchObject({ message_id: Number(id), text: 'Hello you' });
    expect(message?.rich_message?.blocks).toHaveLength(1);
  });

  test('of plain text is shown as it is, without pings and link previews', async () => {
    await send('**not bold** @someone https://example.com', { format: 'text' });
    expect(messages()).toMatchObject([{ text: '**not bold** @someone https://example.com' }]);
    expect(messages()[0]?.entities.map(({ type }) => type)).toEqual(['code', 'url']);
    expect(control.calls({ method: 'sendMessage' })).toMatchObject([
      { parameters: { link_preview_options: { is_disabled: true } } },
    ]);
  });

  test('goes to its topic, answers its message, and has its buttons', async () => {
    const forum = control.createChat({
      type: 'supergroup',
      title: 'F',
      is_forum: true,
      members: [ada],
    });
    const { message_thread_id: thread } = control.createTopic({
      chat_id: forum.id,
      user_id: ada,
      name: 'T',
    });
    const said = control.say({ chat_id: forum.id, user_id: ada, thread_id: thread, text: 'hi' });
    await send('yes', {
      chat_id: String(forum.id),
      thread_id: String(thread),
      reply_to: String(said.message_id),
      inline_keyboard: [[{ text: 'Allow', data: 'a1' }], [{ text: 'Deny', data: 'd1' }]],
    });
    expect(messages(forum.id)).toMatchObject([
      {
        text: 'yes',
        thread_id: thread,
        reply_to: said.message_id,
        buttons: [
          [{ text: 'Allow', callback_data: 'a1' }],
          [{ text: 'Deny', callback_data: 'd1' }],
        ],
      },
    ]);
  });

  test('is posted alone when what it answers is gone', async () => {
    const said = control.say({ chat_id: ada, text: 'hi' });
    control.deleteMessage({ chat_id: ada, message_id: said.message_id });
    expect(idOf(await send('yes', { reply_to: String(said.message_id) }))).not.toBe('');
    expect(messages()).toMatchObject([{ reply_to: null }]);
  });

  test('that is refused as a rich one is posted as HTML, and the next is tried as a rich one', async () => {
    script = (method) =>
      method === 'sendRichMessage' ? refuse(400, 'RICH_MESSAGE_EMAIL_INVALID') : undefined;
    await send('Hello **you** & <b>me</b>');
    expect(messages()).toMatchObject([{ text: 'Hello you & <b>me</b>', rich_message: null }]);
    expect(messages()[0]?.entities).toMatchObject([{ type: 'bold', offset: 6, length: 3 }]);
    script = () => undefined;
    await send('again');
    expect(messages()[1]?.rich_message).not.toBeNull();
  });

  test('that is refused as HTML too is posted as it was written', async () => {
    script = (method, body) =>
      method === 'sendRichMessage' || body.includes('parse_mode')
        ? refuse(400, "can't parse entities")
        : undefined;
    await send('Hello **you**');
    expect(messages()).toMatchObject([{ text: 'Hello **you**' }]);
  });

  test('is no rich one where the server has none, and that is asked once', async () => {
    let asked = 0;
    script = (method) => {
      if (method !== 'sendRichMessage') return undefined;
      asked += 1;
      return Response.json({
        ok: false,
        error_code: 404,
        description: 'Not Found: method not found',
      });
    };
    await send('**one**');
    await send('**two**');
    expect(asked).toBe(1);
    expect(messages().map(({ text }) => text)).toEqual(['one', 'two']);
  });

  test.each([
    ['a chat that is not there', () => send('x', { chat_id: '999' }), 'chat_not_found'],
    ['an id that is none', () => send('x', { chat_id: '@name' }), 'invalid_request'],
    ['nothing to say', () => send(''), 'invalid_request'],
    ['more than fits', () => send('x'.repeat(4097), { format: 'text' }), 'too_long'],
    [
      'a message that is gone',
      () => send('x', { replaces: { message_id: '999' } }),
      'message_not_found',
    ],
    [
      'an id that is none to edit',
      () => send('x', { replaces: { message_id: 'x' } }),
      'invalid_request',
    ],
  ])('to %s is refused for certain', async (_, say, code) => {
    expect(await say()).toMatchObject({ type: 'command_error', code });
    expect(await say()).not.toMatchObject({ uncertain: true });
  });

  test('to somebody who blocked the bot is refused after one call', async () => {
    control.block({ user_id: ada });
    expect(await send('x')).toMatchObject({ code: 'blocked', uncertain: false });
    expect(calls()).toEqual(['sendRichMessage']);
  });
});

describe('a posting whose answer is lost', () => {
  test.each([
    ['cut off after it', { type: 'cut', when: 'after' }, 1],
    ['cut off within the answer', { type: 'cut', when: 'body' }, 1],
    ['a 502 of a proxy after it', { type: 'status', code: 502, html: true, processed: true }, 1],
    ['cut off before it', { type: 'cut', when: 'before' }, 0],
    ['a 500 instead of it', { type: 'status', code: 500 }, 0],
  ] as const)('by %s is uncertain, and not repeated', async (_, fault, there) => {
    addFault(fault, ['sendRichMessage']);
    expect(await send('x')).toMatchObject({ code: 'platform_error', uncertain: true });
    expect(calls()).toEqual(['sendRichMessage']);
    expect(messages()).toHaveLength(there);
  });

  test('because the time was over is uncertain', async () => {
    addFault({ type: 'slow', ms: 5000 }, ['sendRichMessage']);
    const ending = new AbortController();
    const answer = outbound.request(
      {
        type: 'send_message',
        request_id: 'r',
        chat_id: String(ada),
        content: 'x',
        format: 'markdown',
        part: 1,
        parts: 1,
      },
      { signal: ending.signal },
    );
    await until('it is posted', () => messages().length === 1);
    ending.abort();
    expect(await answer).toMatchObject({ code: 'platform_error', uncertain: true });
  });

  test('was none where Telegram could not be reached', async () => {
    await simulator.close();
    expect(await send('x')).toMatchObject({ code: 'not_connected', uncertain: false });
  });
});

describe('too many calls', () => {
  test('are refused with the time to wait, and not made again before it is over', async () => {
    addFault({ type: 'retry_after', seconds: 3000 }, ['sendRichMessage']);
    expect(await send('x')).toEqual({
      type: 'command_error',
      code: 'rate_limited',
      message: expect.stringContaining('retry after 3000'),
      retry_after_ms: 3_000_000,
      uncertain: false,
    });
    const again = await send('x');
    expect(again).toMatchObject({ code: 'rate_limited', uncertain: false });
    expect(calls()).toEqual(['sendRichMessage']);
  });
});

describe('a group that became a supergroup', () => {
  test('gets the message under its new id, and the server is told once', async () => {
    const { id } = control.createChat({ type: 'group', title: 'G', members: [ada] });
    const { chat_id: next } = control.migrate({ chat_id: id });
    await send('one', { chat_id: String(id) });
    await send('two', { chat_id: String(id) });
    expect(messages(next).map(({ text }) => text)).toEqual(['one', 'two']);
    expect(migrations).toEqual([[id, next]]);
    expect(calls()).toHaveLength(3);
  });
});

describe('a message that replaces one', () => {
  test('edits it, and takes its buttons away', async () => {
    const id = idOf(await send('ask', { inline_keyboard: [[{ text: 'Ok', data: '1' }]] }));
    expect(await send('decided', { replaces: { message_id: id } })).toEqual({
      type: 'command_ok',
      message_id: id,
    });
    expect(messages()).toMatchObject([{ text: 'decided', buttons: [] }]);
  });

  test('that it says already is success', async () => {
    const id = idOf(await send('same'));
    expect(await send('same', { replaces: { message_id: id } })).toEqual({
      type: 'command_ok',
      message_id: id,
    });
  });

  test('of an unknown preview is posted anew', async () => {
    await send('whole', { replaces: { preview_id: 'nobody knows' } });
    expect(messages()).toMatchObject([{ text: 'whole' }]);
  });
});

describe('a preview', () => {
  test('is one message that grows and becomes the final', async () => {
    preview('Once');
    await until('it is posted', () => posted.length === 1);
    preview('Once upon');
    preview('Once upon a time');
    await until('it has grown', () => messages()[0]?.text === 'Once upon a time');
    const id = idOf(await send('Once upon a time, *the end*', { replaces: { preview_id: 'p1' } }));
    expect(posted).toEqual([{ id: 'p1', messageId: id }]);
    expect(messages()).toMatchObject([{ text: 'Once upon a time, the end' }]);
  });

  test('is waited for by its final while it is posted', async () => {
    addFault({ type: 'slow', ms: 200 }, ['sendRichMessage']);
    preview('Once');
    const id = idOf(await send('Once upon', { replaces: { preview_id: 'p1' } }));
    expect(posted).toEqual([{ id: 'p1', messageId: id }]);
    expect(messages()).toMatchObject([{ text: 'Once upon' }]);
  });

  test('never lands after its final, however slowly its edits go', async () => {
    preview('a');
    await until('it is posted', () => posted.length === 1);
    let late = 0;
    script = async (method, body) => {
      if (method !== 'editMessageText' || !body.includes('late')) return undefined;
      late += 1;
      await delay(150);
      return undefined;
    };
    preview('a late edit');
    await until('the edit is on its way', () => late === 1);
    preview('a later late edit');
    await send('a final', { replaces: { preview_id: 'p1' } });
    preview('a much later late edit');
    // Whatever would come, came before what is asked for after it.
    preview('elsewhere', 'p2', control.createUser({ started: true }).id);
    await until('another is posted', () => posted.length === 2);
    expect(messages()).toHaveLength(1);
    expect(messages()[0]?.history.map(({ text }) => text)).toEqual(['a', 'a late edit', 'a final']);
    expect(late).toBe(1);
  });

  test('whose posting was lost is not posted again: its final is', async () => {
    addFault({ type: 'cut', when: 'after' }, ['sendRichMessage']);
    preview('Once');
    await until('it is lost', () => faults.length === 1);
    preview('Once upon');
    preview('Once upon a');
    expect(calls()).toEqual(['sendRichMessage']);
    await send('whole', { replaces: { preview_id: 'p1' } });
    expect(posted).toEqual([]);
    expect(messages().map(({ text }) => text)).toEqual(['Once', 'whole']);
  });

  test('to somebody who blocked the bot is tried once', async () => {
    control.block({ user_id: ada });
    preview('a');
    await until('it is refused', () => faults.length === 1);
    preview('ab');
    expect(calls()).toEqual(['sendRichMessage']);
    expect(faults).toMatchObject([{ what: 'a preview', failure: { code: 'blocked' } }]);
  });

  test('goes on after a refusal for being too fast, when its time is over', async () => {
    preview('a');
    await until('it is posted', () => posted.length === 1);
    addFault({ type: 'retry_after', seconds: 1 }, ['editMessageText']);
    preview('ab');
    await until('it has grown', () => messages()[0]?.text === 'ab');
    expect(calls()).toEqual(['sendRichMessage', 'editMessageText', 'editMessageText']);
    expect(faults).toEqual([]);
  });

  test('whose final is refused can be finished later', async () => {
    preview('a');
    await until('it is posted', () => posted.length === 1);
    addFault({ type: 'retry_after', seconds: 1 }, ['editMessageText']);
    const final = { replaces: { preview_id: 'p1' } };
    expect(await send('ab', final)).toMatchObject({ code: 'rate_limited' });
    await send('ab', final);
    expect(messages()).toMatchObject([{ text: 'ab' }]);
  });

  test('that was deleted is reported by its final', async () => {
    preview('a');
    await until('it is posted', () => posted.length === 1);
    control.deleteMessage({ chat_id: ada, message_id: Number(posted[0]?.messageId) });
    expect(await send('ab', { replaces: { preview_id: 'p1' } })).toMatchObject({
      code: 'message_not_found',
      uncertain: false,
    });
  });

  test('as a draft shows in private chats, and its final is a message', async () => {
    outbound.close();
    outbound = newOutbound('draft');
    preview('Once');
    await until('it is shown', () =>
      control.drafts({ chat_id: ada }).some((draft) => draft.is_shown),
    );
    preview('Once **upon');
    await until('it has grown', () => control.drafts()[0]?.history.at(-1)?.text === 'Once **upon');
    expect(control.drafts()).toMatchObject([{ can_stop: true }]);
    await send('Once upon', { replaces: { preview_id: 'p1' } });
    expect(posted).toEqual([]);
    expect(messages()).toMatchObject([{ text: 'Once upon', edits: 0 }]);
    const { id } = control.createChat({ type: 'group', title: 'G', members: [ada] });
    preview('in a group', 'p2', id);
    await until('it is a message', () => posted.length === 1);
  });

  test('is a message where the server has no drafts', async () => {
    outbound.close();
    outbound = newOutbound('draft');
    script = (method) =>
      method.endsWith('Draft')
        ? Response.json({ ok: false, error_code: 404, description: 'Not Found: method not found' })
        : undefined;
    preview('Once');
    await until('it is a message', () => posted.length === 1);
  });
});

describe('a file', () => {
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
    'base64',
  );
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'telegram-outbound-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function sendMedia(
    media: { path?: string; url?: string; base64?: string; name?: string; mime?: string },
    caption?: string,
  ) {
    const named = { name: 'file', mime: 'application/octet-stream', ...media };
    return request({
      type: 'send_media',
      request_id: 'r',
      chat_id: String(ada),
      media: named,
      ...(caption === undefined ? {} : { caption }),
    });
  }

  test('that is a picture is a photo, with its caption in its form', async () => {
    await sendMedia(
      { base64: png.toString('base64'), name: 'a.png', mime: 'image/png' },
      'the *sea*',
    );
    expect(messages()).toMatchObject([
      { text: 'the sea', entities: [{ type: 'italic' }], files: [{ size: png.length }] },
    ]);
    expect(calls()).toEqual(['sendPhoto']);
  });

  test('of the disk is sent byte for byte under its name', async () => {
    const file = path.join(folder, 'x');
    writeFileSync(file, 'hello');
    await sendMedia({ path: file, name: 'Räport "1".txt', mime: 'text/plain' });
    const [sent] = messages()[0]?.files ?? [];
    expect(sent).toMatchObject({ name: 'Räport _1_.txt', size: 5 });
    expect(
      Buffer.from(control.file({ file_id: sent?.file_id ?? '' }).base64, 'base64').toString(),
    ).toBe('hello');
  });

  test('that Telegram cannot show as a photo is a file', async () => {
    await sendMedia(
      { base64: Buffer.from('no png').toString('base64'), name: 'a.png', mime: 'image/png' },
      'c',
    );
    expect(calls()).toEqual(['sendPhoto', 'sendDocument']);
    expect(messages()).toMatchObject([{ text: 'c' }]);
  });

  test.each([
    ['is not there', { path: '/nowhere/at/all' }, 'no file'],
    ['is at an unsafe address', { url: 'http://example.com/a' }, 'https'],
    ['is nothing', {}, 'one of'],
    ['is two', { url: 'https://example.com/a', base64: 'YQ==' }, 'one of'],
    ['is empty', { base64: '' }, 'empty'],
  ])('that %s is refused', async (_, media, message) => {
    expect(await sendMedia(media)).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(message),
    });
    expect(calls()).toEqual([]);
  });

  test('with too long a caption is refused before it is sent', async () => {
    expect(await sendMedia({ base64: 'YQ==' }, 'x'.repeat(1025))).toMatchObject({
      code: 'too_long',
    });
    expect(calls()).toEqual([]);
  });

  test('whose answer is lost is uncertain, and not repeated', async () => {
    addFault({ type: 'cut', when: 'after' }, ['sendDocument']);
    expect(await sendMedia({ base64: 'YQ==' })).toMatchObject({ uncertain: true });
    expect(messages()).toHaveLength(1);
  });
});

describe('the rest', () => {
  test('a message is edited and deleted', async () => {
    const id = idOf(await send('a'));
    const of = { request_id: 'r', chat_id: String(ada), message_id: id };
    await request({ type: 'edit_message', ...of, content: 'b *c*', format: 'markdown' });
    expect(messages()).toMatchObject([{ text: 'b c' }]);
    expect(await request({ type: 'delete_message', ...of })).toEqual({
      type: 'command_ok',
      message_id: id,
    });
    expect(messages()).toEqual([]);
    expect(await request({ type: 'delete_message', ...of })).toMatchObject({
      code: 'message_not_found',
    });
  });

  test('a press is answered, and one that is too old is refused', async () => {
    const messageId = Number(
      idOf(await send('ask', { inline_keyboard: [[{ text: 'Ok', data: '1' }]] })),
    );
    const press = control.press({ chat_id: ada, message_id: messageId, data: '1' });
    const answer = {
      type: 'answer_callback_query',
      request_id: 'r',
      callback_query_id: press.callback_query_id,
      text: 'Done',
    } as const;
    expect(await request(answer)).toEqual({ type: 'command_ok' });
    expect(control.presses()).toMatchObject([{ answer: { text: 'Done' } }]);
    const old = control.press({ chat_id: ada, message_id: messageId, data: '1' });
    control.advanceClock({ ms: 3_600_000 });
    expect(await request({ ...answer, callback_query_id: old.callback_query_id })).toMatchObject({
      code: 'invalid_request',
      uncertain: false,
    });
  });

  test('writing is shown until a message comes', async () => {
    outbound.typing({ type: 'send_typing', chat_id: String(ada), duration: 60_000 });
    await until('it shows', () => control.typing({ chat_id: ada })?.action === 'typing');
    await send('x');
    expect(control.typing({ chat_id: ada })).toBeNull();
  });

  test('nothing can be looked for', async () => {
    const find = {
      type: 'find_message',
      request_id: 'r',
      chat_id: String(ada),
      content: 'x',
      author: 'self',
      after: '',
    } as const;
    expect(await request(find)).toMatchObject({ code: 'invalid_request' });
  });
});
