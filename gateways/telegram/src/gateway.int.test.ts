import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type GatewayEvent,
  type GatewayEventOf,
  type GatewayEventType,
  readGatewayEvent,
} from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { startTelegramSimulator, type TelegramSimulator } from '../simulator/simulator.ts';

const main = path.join(import.meta.dirname, 'main.ts');
const secret = 'AAcanary-telegram-5f0c1b7e29d84a63';
const token = `1234567890:${secret}`;

type MessageEvent = GatewayEventOf<'message_received'>;

/** A gateway's process, and the server's end of its lines, by hand. */
class Gateway {
  readonly child: ChildProcess;
  readonly events: GatewayEvent[] = [];
  readonly exit: Promise<number | null>;
  /** Everything it wrote. */
  output = '';
  /** Whether what comes from people is acked at once. */
  acks: boolean;
  #requests = 0;
  #rest = '';

  constructor(words: string[] = [], acks = true) {
    this.acks = acks;
    const { PATH, HOME, NODE_COMPILE_CACHE } = process.env;
    this.child = spawn(process.execPath, ['--conditions=@duragent/source', main, ...words], {
      env: { PATH, HOME, NODE_COMPILE_CACHE },
      stdio: 'pipe',
    });
    this.exit = once(this.child, 'exit').then(([code]) => code as number | null);
    this.child.stdin?.on('error', () => undefined);
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
  }

  send(line: object): void {
    this.child.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  configure(config: object, rest: object = {}): void {
    const limits = { max_length: 2000, length_unit: 'chars' };
    const fixed = {
      type: 'configure',
      protocol: 'v1',
      name: 'telegram',
      account: 'telegram',
      limits,
    };
    this.send({ ...fixed, config, cursor: null, media_dir: folder, commands: [], ...rest });
  }

  async ready(): Promise<GatewayEventOf<'ready'>> {
    return await this.event('ready');
  }

  /** Waits for the first event of a type. */
  async event<T extends GatewayEventType>(type: T): Promise<GatewayEventOf<T>> {
    const isIt = (event: GatewayEvent): event is GatewayEventOf<T> => event.type === type;
    const what = `a ${type}, of what there is: ${this.output.slice(-2000)}`;
    await until(what, () => this.events.some(isIt));
    const found = this.events.find(isIt);
    if (found === undefined) throw new Error(what);
    return found;
  }

  /** Sends a request and waits for its answer. */
  async request(line: object): Promise<GatewayEvent> {
    const request_id = `r${++this.#requests}`;
    this.send({ ...line, request_id });
    const isIt = (event: GatewayEvent): boolean =>
      'request_id' in event && event.request_id === request_id;
    await until(`an answer to ${JSON.stringify(line)}`, () => this.events.some(isIt));
    const answer = this.events.find(isIt);
    if (answer === undefined) throw new Error('an answer that was there is gone');
    return answer;
  }

  messages(): MessageEvent[] {
    return this.events.filter((event) => event.type === 'message_received');
  }

  texts(): (string | undefined)[] {
    return this.messages().map(({ content }) => content.text);
  }

  ack(...events: GatewayEvent[]): void {
    const ids = events.map((event) => ('event_id' in event ? event.event_id : undefined));
    this.send({ type: 'ack', event_ids: ids });
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }

  #read(text: string): void {
    this.output += text;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('{')) continue;
      const read = readGatewayEvent(JSON.parse(line));
      if (!read.ok) throw new Error(`no event: ${line} ${JSON.stringify(read.fault)}`);
      this.events.push(read.event);
      if (this.acks && 'event_id' in read.event) this.ack(read.event);
    }
  }
}

let simulator: TelegramSimulator;
let control: TelegramSimulator['control'];
let ada: number;
let folder: string;
const started: Gateway[] = [];

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'telegram-gateway-'));
  simulator = await startTelegramSimulator({ token });
  ({ control } = simulator);
  ada = control.createUser({ first_name: 'Ada', started: true }).id;
});

afterEach(async () => {
  const all = started.splice(0);
  await Promise.all(all.map((gateway) => gateway.kill()));
  await simulator.close();
  rmSync(folder, { recursive: true });
  // The token is in nothing that anybody of them ever wrote.
  for (const { output } of all) expect(output).not.toContain(secret);
});

function start(words: string[] = [], acks = true): Gateway {
  const gateway = new Gateway(words, acks);
  started.push(gateway);
  return gateway;
}

const config = () => ({ bot_token: token, api_root: simulator.url });

/** A gateway that is ready. */
async function connect(
  rest: { acks?: boolean; cursor?: unknown; commands?: unknown } = {},
): Promise<Gateway> {
  const { acks = true, ...fields } = rest;
  const gateway = start([], acks);
  gateway.configure(config(), fields);
  await gateway.ready();
  return gateway;
}

function say(text: string): number {
  return control.say({ chat_id: ada, text }).update_id ?? 0;
}

describe('the handshake', () => {
  test('says what the gateway is and can do', async () => {
    const ready = await (await connect()).ready();
    expect(ready).toMatchObject({
      gateway: 'telegram',
      protocol: 'v1',
      limits: { max_length: 4096, length_unit: 'utf16' },
      identity: { id: '1234567890', username: 'simulated_bot' },
    });
    expect(ready.capabilities).toEqual(expect.arrayContaining(['ack', 'preview', 'edit']));
    expect(ready.capabilities).not.toEqual(expect.arrayContaining(['find']));
  });

  test('refuses a config that cannot be used', async () => {
    const gateway = start();
    gateway.configure({ bot_token: token, api_rot: 'x' });
    expect(await gateway.event('error')).toMatchObject({
      code: 'invalid_request',
      fatal: true,
      message: expect.stringContaining('did you mean "api_root"?'),
    });
    expect(await gateway.exit).toBe(1);
  });

  test('refuses a token that Telegram does not know', async () => {
    const gateway = start();
    gateway.configure({
      ...config(),
      bot_token: `1234567890:${secret.split('').toReversed().join('')}`,
    });
    expect(await gateway.event('error')).toMatchObject({ code: 'unauthorized', fatal: true });
    expect(await gateway.exit).toBe(1);
  });

  test('never repeats the token, whatever an API server says', async () => {
    const echo = createServer((request, response) => {
      const description = `Unauthorized: ${request.url ?? ''}`;
      response.end(JSON.stringify({ ok: false, error_code: 401, description }));
    });
    await once(echo.listen(0, '127.0.0.1'), 'listening');
    const { port } = echo.address() as AddressInfo;
    const gateway = start();
    gateway.configure({ bot_token: token, api_root: `http://127.0.0.1:${port}` });
    expect(await gateway.event('error')).toMatchObject({
      message: expect.stringContaining('/bot[bot_token]/getMe'),
    });
    await gateway.exit;
    echo.close();
  });

  test('tries again while Telegram has a trouble of its own', async () => {
    control.addFault({
      fault: { type: 'status', code: 502, html: true },
      methods: ['getMe'],
      times: 2,
    });
    await connect();
  });

  test('registers the commands when they are other ones, and then no more', async () => {
    const commands = [{ name: 'new', description: 'A fresh session' }];
    await connect({ commands });
    await until(
      'they are registered',
      () => control.calls({ method: 'setMyCommands' }).length === 1,
    );
    expect(Object.values(control.bot().commands)).toEqual([
      [{ command: 'new', description: 'A fresh session' }],
    ]);
    await started[0]?.kill();
    await connect({ commands });
    await until(
      'they are looked up',
      () => control.calls({ method: 'getMyCommands' }).length === 2,
    );
    const gateway = await connectAgain();
    await gateway.request({ type: 'ping' });
    expect(control.calls({ method: 'setMyCommands' })).toHaveLength(1);
  });

  async function connectAgain(): Promise<Gateway> {
    await started.at(-1)?.kill();
    return await connect();
  }
});

describe('what people say', () => {
  test('is confirmed to Telegram when it is durable, and not before', async () => {
    const gateway = await connect({ acks: false });
    const id = say('hello');
    const event = await gateway.event('message_received');
    expect(event).toMatchObject({ chat_id: String(ada), content: { text: 'hello' } });
    // Polls go on meanwhile: one that came after the event is over.
    const polls = control.calls({ method: 'getUpdates' }).length;
    await until('it polls on', () => control.calls({ method: 'getUpdates' }).length > polls + 1);
    expect(control.confirmed()).toEqual([]);
    expect(gateway.messages()).toHaveLength(1);
    gateway.ack(event);
    await until('it is confirmed', () => control.confirmed().includes(id));
  });

  test('waits for the one before it to be durable, while more comes', async () => {
    const gateway = await connect({ acks: false });
    const ids = [say('one'), say('two')];
    await until('both came', () => gateway.messages().length === 2);
    const [one, two] = gateway.messages();
    gateway.ack(two as MessageEvent);
    ids.push(say('three'));
    await until('the third came', () => gateway.messages().length === 3);
    expect(control.confirmed()).toEqual([]);
    gateway.ack(one as MessageEvent, gateway.messages()[2] as MessageEvent);
    await until('all are confirmed', () => control.confirmed().length === 3);
    expect(control.confirmed()).toEqual(ids);
    expect(gateway.texts()).toEqual(['one', 'two', 'three']);
  });

  test('comes again with the same event_id when it was not durable, and goes on where it stopped when it was', async () => {
    const first = await connect({ acks: false });
    say('one');
    say('two');
    await until('both came', () => first.messages().length === 2);
    const before = first.messages();
    await first.kill();

    const second = await connect({ cursor: null });
    await until('both came again', () => second.messages().length === 2);
    expect(second.messages().map(({ event_id }) => event_id)).toEqual(
      before.map(({ event_id }) => event_id),
    );
    const cursor = second.messages().at(-1)?.cursor;
    await second.kill();

    const third = await connect({ cursor });
    say('three');
    await until('the third came', () => third.texts().includes('three'));
    expect(third.texts()).toEqual(['three']);
  });

  test('is held back beyond a hundred that are not durable', async () => {
    const gateway = await connect({ acks: false });
    for (let number = 0; number < 130; number++) say(`message ${number}`);
    await until('a hundred came', () => gateway.messages().length >= 100);
    const polls = control.calls({ method: 'getUpdates' }).length;
    await until('it polls on', () => control.calls({ method: 'getUpdates' }).length > polls);
    expect(gateway.messages()).toHaveLength(100);
    gateway.acks = true;
    gateway.ack(...gateway.messages());
    await until('all came', () => gateway.messages().length === 130);
    await until('all are confirmed', () => control.confirmed().length === 130);
    expect(gateway.texts()).toEqual(
      Array.from({ length: 130 }, (_, number) => `message ${number}`),
    );
  });

  test('comes through redelivery, disorder, cut connections and refusals', async () => {
    const methods = ['getUpdates'];
    const gateway = await connect();
    control.addFault({ fault: { type: 'reorder' }, methods, every: 3 });
    control.addFault({ fault: { type: 'redeliver', back: 3 }, methods, every: 4 });
    control.addFault({ fault: { type: 'cut', when: 'body' }, methods, nth: 2 });
    control.addFault({ fault: { type: 'status', code: 502, html: true }, methods, nth: 5 });
    control.addFault({ fault: { type: 'retry_after', seconds: 1 }, methods, nth: 7 });
    const wanted = Array.from({ length: 12 }, (_, number) => `message ${number}`);
    for (const text of wanted) {
      say(text);
      await until('the poll took it', () => gateway.texts().includes(text));
    }
    await until('all are confirmed', () => control.confirmed().length === wanted.length);
    const ids = new Map(
      gateway.messages().map(({ event_id, content }) => [event_id, content.text]),
    );
    expect(ids.size).toBe(wanted.length);
    expect(new Set(ids.values())).toEqual(new Set(wanted));
  });

  test('is heard after a week of silence, when the ids of updates start anew', async () => {
    const gateway = await connect();
    say('old');
    await until('it came', () => gateway.texts().includes('old'));
    control.advanceClock({ ms: 8 * 86_400_000 });
    say('new');
    await until('it came', () => gateway.texts().includes('new'));
    await gateway.kill();
    const stale = { offset: 2_000_000_000, at: Date.now() - 8 * 86_400_000 };
    say('newest');
    const next = await connect({ cursor: stale });
    await until('it came', () => next.texts().includes('newest'));
    const polls = control.calls({ method: 'getUpdates' });
    expect(polls.some(({ parameters }) => Number(parameters['offset']) === stale.offset)).toBe(
      false,
    );
  });

  test('with a button, in a group that moves, or nothing at all is told or confirmed', async () => {
    const gateway = await connect();
    const { id } = control.createChat({ type: 'group', title: 'G', members: [ada] });
    control.migrate({ chat_id: id });
    expect(await gateway.event('chat_migrated')).toMatchObject({ chat_id: String(id) });
    const sent = await gateway.request({
      type: 'send_message',
      chat_id: String(ada),
      content: 'ok?',
      format: 'markdown',
      inline_keyboard: [[{ text: 'Yes', data: 'y1' }]],
    });
    const messageId = sent.type === 'command_ok' ? Number(sent.message_id) : 0;
    control.press({ chat_id: ada, message_id: messageId, data: 'y1' });
    expect(await gateway.event('callback_query')).toMatchObject({
      data: 'y1',
      message_id: String(messageId),
    });
    await until('all are confirmed', () => control.updates().every(({ confirmed }) => confirmed));
  });
});

describe('a file that somebody sent', () => {
  test('is in media_dir when its event comes', async () => {
    const gateway = await connect();
    const bytes = Buffer.alloc(300_000, 'duragent');
    control.sendFile({
      chat_id: ada,
      kind: 'document',
      bytes,
      name: '../re port.pdf',
      mime: 'application/pdf',
      caption: 'see',
    });
    const { content } = await gateway.event('message_received');
    const [file] = content.media ?? [];
    expect(content.text).toBe('see');
    expect(file).toMatchObject({
      name: 're port.pdf',
      mime: 'application/pdf',
      size: bytes.length,
    });
    expect(path.dirname(file?.path ?? '')).toBe(folder);
    expect(readFileSync(file?.path ?? '').equals(bytes)).toBe(true);
    expect(statSync(file?.path ?? '').mode & 0o777).toBe(0o600);
    expect(file?.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  test('has another path when it is redelivered: the first may be being taken', async () => {
    const gateway = await connect();
    control.sendFile({ chat_id: ada, kind: 'document', bytes: Buffer.from('x'), name: 'x.txt' });
    await gateway.event('message_received');
    await until('it is confirmed', () => control.confirmed().length === 1);
    control.redeliver({ back: 1 });
    await until('it came again', () => gateway.messages().length === 2);
    const [first, again] = gateway.messages();
    expect(again?.event_id).toBe(first?.event_id);
    expect(again?.content.media?.[0]?.path).not.toBe(first?.content.media?.[0]?.path);
  });

  test('that cannot be had is named instead, and holds nobody up', async () => {
    control.addFault({ fault: { type: 'status', code: 500 }, methods: ['getFile'] });
    const gateway = await connect();
    control.sendFile({ chat_id: ada, kind: 'voice', bytes: Buffer.from('x') });
    const { content } = await gateway.event('message_received');
    expect(content.unknown).toMatch(/^voice: .*500|^voice: .*Internal/);
    say('next');
    await until('the next came', () => gateway.texts().includes('next'));
  });
});

describe('Telegram', () => {
  test('that fails is not connected, until it answers again', async () => {
    const gateway = await connect();
    const { id } = control.addFault({
      fault: { type: 'status', code: 502 },
      methods: ['getUpdates'],
    });
    say('while it fails');
    const connected = async () => {
      const pong = await gateway.request({ type: 'ping' });
      return pong.type === 'pong' && pong.connected;
    };
    await until('it says so', async () => !(await connected()));
    control.removeFault({ id });
    await until('it is back', connected);
    await until('nothing is lost', () => gateway.texts().includes('while it fails'));
  });

  test('that hears another process with the same token ends the first', async () => {
    const first = await connect();
    await until('it polls', () => control.bot().is_polling);
    const second = await connect();
    expect(await first.event('error')).toMatchObject({
      code: 'conflict',
      fatal: true,
      message: expect.stringContaining("another process uses this bot's token"),
    });
    expect(await first.exit).toBe(1);
    say('hello');
    await second.event('message_received');
  });
});

describe('a reply', () => {
  test('is shown while it is written, and is one message in the end', async () => {
    const gateway = await connect();
    const preview = { type: 'preview_message', preview_id: 'p1', chat_id: String(ada) };
    gateway.send({ ...preview, content: 'Once' });
    const { message_id } = await gateway.event('preview_posted');
    gateway.send({ ...preview, content: 'Once upon' });
    const final = {
      type: 'send_message',
      chat_id: String(ada),
      content: 'Once upon a time',
      format: 'markdown',
      replaces: { preview_id: 'p1' },
    };
    expect(await gateway.request(final)).toMatchObject({ type: 'command_ok', message_id });
    expect(control.readChat({ chat_id: ada })).toMatchObject([{ text: 'Once upon a time' }]);
  });

  test('that Telegram refuses never shows the token', async () => {
    const gateway = await connect();
    const send = { type: 'send_message', content: 'x', format: 'markdown' };
    expect(await gateway.request({ ...send, chat_id: '1' })).toMatchObject({
      code: 'chat_not_found',
    });
    await simulator.close();
    expect(await gateway.request({ ...send, chat_id: String(ada) })).toMatchObject({
      type: 'command_error',
    });
  });
});

describe('the end', () => {
  test('comes at once when the server asks, while a poll waits', async () => {
    const gateway = await connect();
    await until('it polls', () => control.bot().is_polling);
    gateway.send({ type: 'shutdown', deadline_ms: 20_000 });
    expect(await gateway.exit).toBe(0);
    expect(gateway.events.at(-1)).toMatchObject({ type: 'shutdown' });
  });

  test('comes with the end of stdin', async () => {
    const gateway = await connect();
    gateway.child.stdin?.end();
    expect(await gateway.exit).toBe(0);
  });
});

describe('the command', () => {
  test('says its version and its help', async () => {
    const gateway = start(['--help']);
    const wrong = start(['nonsense']);
    expect(await gateway.exit).toBe(0);
    expect(await wrong.exit).toBe(2);
  });
});
