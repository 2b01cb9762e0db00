import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { until } from '../../test/support/until.ts';
import type { LineFault } from './connection.ts';
import type { CommandOf, GatewayCommand } from './gateway/command.ts';
import { type GatewayEvent, type GatewayEventOf, MAX_LINE_BYTES } from './gateway/event.ts';
import { DEFAULT_LIMITS } from './gateway/handshake.ts';
import {
  type AnswerBody,
  GatewayFatalError,
  type GatewayHandlers,
  type GatewayLink,
  JsonLineReader,
  serveGateway,
} from './node.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a reader of JSON lines', () => {
  /** What a reader says of these chunks; values as they are. */
  function read(...chunks: (Uint8Array | string)[]): unknown[] {
    const said: unknown[] = [];
    const reader = new JsonLineReader({
      value: (value) => said.push(value),
      fault: (fault) => said.push(fault),
    });
    for (const chunk of chunks) {
      reader.push(typeof chunk === 'string' ? bytes(chunk) : chunk);
    }
    reader.end();
    return said;
  }

  test('gives the objects, however the bytes are cut', () => {
    const objects = fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()));
    fc.assert(
      fc.property(objects, fc.array(fc.nat(30)), (values, cuts) => {
        const lines = values.map((value) => JSON.stringify(value));
        const all = bytes(lines.map((line) => `${line}\n`).join(''));
        const chunks: Uint8Array[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(all.slice(from, from + cut));
          from += cut;
        }
        chunks.push(all.slice(from));
        expect(read(...chunks)).toEqual(lines.map((line) => JSON.parse(line) as unknown));
      }),
    );
  });

  test('takes as JSON what JSON.parse takes, and nothing else', () => {
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '1',
      '-',
      '.',
      'e',
      'true',
      'null',
      'a',
      ' ',
    ];
    const nearly = fc.array(fc.constantFrom(...pieces), { minLength: 1 });
    const line = fc.oneof(
      nearly.map((all) => all.join('')),
      fc.json(),
    );
    fc.assert(
      fc.property(line, (text) => {
        fc.pre(text.trim() !== '');
        let expected: unknown;
        try {
          const value = JSON.parse(text) as unknown;
          const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
          expected = isObject ? value : { kind: 'invalid', type: null, fault: expect.any(String) };
        } catch {
          expected = { kind: 'not_json', text: expect.any(String) };
        }
        expect(read(`${text}\n`)).toEqual([expected]);
      }),
      { numRuns: 2000 },
    );
  });

  test('gives each value before the next chunk is taken, with the bytes of its line', () => {
    const said: unknown[] = [];
    const reader = new JsonLineReader({
      value: (value, length) => said.push([value, length]),
      fault: (fault) => said.push(fault),
    });
    for (let n = 0; n < 1000; n += 1) {
      reader.push(bytes(`{"n":${n}}\n`));
      expect(said.splice(0)).toEqual([[{ n }, `{"n":${n}}`.length]]);
    }
    const large = `{"text":"${'ä'.repeat(400_000)}"}`;
    reader.push(bytes(`${large}\n{"n":1}\n`));
    expect(said).toEqual([
      [JSON.parse(large), bytes(large).length],
      [{ n: 1 }, 7],
    ]);
  });

  test.each([
    ['null', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    [' null\t', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['42', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['0', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['false', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['""', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['"text"', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['[{}]', { kind: 'invalid', type: null, fault: 'a line is a JSON object' }],
    ['Listening …', { kind: 'not_json', text: 'Listening …' }],
    ['{"a":1', { kind: 'not_json', text: '{"a":1' }],
    ['{"a":1}{"b":2}', { kind: 'not_json', text: '{"a":1}{"b":2}' }],
    ['\u001b[31mred\u202e', { kind: 'not_json', text: '\uFFFD[31mred\uFFFD' }],
    ['x'.repeat(5000), { kind: 'not_json', text: 'x'.repeat(500) }],
  ])('takes %j as a fault, and the lines around it as they are', (line, fault) => {
    expect(read(`{"a":1}\n${line}\n{"b":2}\n`)).toEqual([{ a: 1 }, fault, { b: 2 }]);
    expect(read(`${line}\n${line}\n{"b":2}\n`)).toEqual([fault, fault, { b: 2 }]);
  });

  test('takes bytes that are no UTF-8 as no JSON', () => {
    const line = new Uint8Array([...bytes('{"a":"'), 0xff, ...bytes('"}\n')]);
    expect(read(line, '{}\n')).toEqual([{ kind: 'not_json', text: '{"a":"\uFFFD"}' }, {}]);
    const surrogate = new Uint8Array([...bytes('{"a":"'), 0xed, 0xa0, 0x80, ...bytes('"}\n')]);
    expect(read(surrogate)).toMatchObject([{ kind: 'not_json' }]);
  });

  test('skips empty lines, and takes CRLF and a byte order mark', () => {
    expect(read('\n  \n\r\n{"a":1}\r\n\uFEFF{"b":2}\n\uFEFF\n')).toEqual([{ a: 1 }, { b: 2 }]);
  });

  test('keeps line separators that are no LF in a text', () => {
    expect(read('{"a":"\u2028\u2029\u0085"}\n')).toEqual([{ a: '\u2028\u2029\u0085' }]);
  });

  test('takes 64 levels and not 65, whatever stands in texts', () => {
    const nested = (levels: number): string =>
      `{"text":"[[[{{{\\"[[\\\\","a":${'['.repeat(levels - 1)}"]}\\\\"${']'.repeat(levels - 1)}}\n`;
    expect(read(nested(64))).toEqual([JSON.parse(nested(64))]);
    expect(read(nested(65), '{}\n')).toEqual([{ kind: 'too_deep' }, {}]);
    expect(read(`{"a":"${'['.repeat(100_000)}"}\n`)).toHaveLength(1);
    expect(read(`${'[{"a":'.repeat(150_000)}\n{}\n`)).toEqual([{ kind: 'too_deep' }, {}]);
    // Wide is not deep.
    expect(read(`{"a":[${'[],{},'.repeat(1000)}[]]}\n`)).toHaveLength(1);
  });

  test('takes a line of 1 MiB and drops a longer one', () => {
    const of = (length: number): string => `{"a":"${'x'.repeat(length - 8)}"}\n`;
    expect(read(of(MAX_LINE_BYTES))).toHaveLength(1);
    expect(read(of(MAX_LINE_BYTES + 1), '{}\n')).toEqual([
      { kind: 'too_long', bytes: MAX_LINE_BYTES + 1 },
      {},
    ]);
  });

  test('takes what stands behind the last LF as a fault, also where it is whole', () => {
    expect(read('{"a":1}\n{"b":')).toEqual([{ a: 1 }, { kind: 'not_json', text: '{"b":' }]);
    expect(read('{"a":1}')).toEqual([{ kind: 'not_json', text: '{"a":1}' }]);
    expect(read('x'.repeat(MAX_LINE_BYTES + 5))).toEqual([
      { kind: 'too_long', bytes: MAX_LINE_BYTES + 5 },
    ]);
  });

  test('gives keys of the prototype as keys', () => {
    const [value] = read('{"__proto__":{"evil":1},"constructor":2}\n');
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value as object)).toEqual(['__proto__', 'constructor']);
    expect({}).not.toHaveProperty('evil');
  });

  test('says one thing of any line', () => {
    const pieces = fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', 'null', '1', 'a', ' ');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const line = parts.join('');
        const said = read(`${line}\n`);
        let value: unknown;
        try {
          value = JSON.parse(line);
        } catch {
          value = undefined;
        }
        const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
        if (line.trim() === '') expect(said).toEqual([]);
        else if (isObject) expect(said).toEqual([value]);
        else expect(said).toMatchObject([{ kind: value === undefined ? 'not_json' : 'invalid' }]);
      }),
    );
  });
});

const configure: CommandOf<'configure'> = {
  type: 'configure',
  protocol: 'v1',
  name: 'loop',
  account: 'loop',
  config: { token: 'x' },
  cursor: { offset: 3 },
  limits: DEFAULT_LIMITS,
  media_dir: '/media',
  streaming: 'edit',
  commands: [],
};
const ready = { gateway: 'loop', version: '1.0.0', capabilities: ['ack'] };
const received = (id: string): GatewayEventOf<'message_received'> => ({
  type: 'message_received',
  event_id: id,
  message_id: id,
  edited: false,
  chat_id: '1',
  sender: { id: '2', is_bot: false },
  content: { text: `hello ${id}` },
  routing: { chat_type: 'dm', chat_id: '1', sender_id: '2' },
  mentions_bot: false,
  reply_to_bot: false,
  timestamp: '2026-11-20T08:15:30.123Z',
  metadata: {},
});
const send = (id: string): CommandOf<'send_message'> => ({
  type: 'send_message',
  request_id: id,
  chat_id: '1',
  content: 'hello',
  format: 'markdown',
  part: 1,
  parts: 1,
});

describe('a served gateway', () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  /** Serves handlers over streams in memory; `heard` is what they wrote, `log` their stderr. */
  function serve(overrides: Partial<GatewayHandlers> = {}, options: { reads?: boolean } = {}) {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const heard: GatewayEvent[] = [];
    const faults: LineFault[] = [];
    const log: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      log.push(String(text));
      return true;
    });
    const reader = new JsonLineReader({
      value: (value) => heard.push(value as GatewayEvent),
      fault: (fault) => faults.push(fault),
    });
    const listen = (): unknown => stdout.on('data', (chunk: Uint8Array) => reader.push(chunk));
    if (options.reads !== false) listen();
    const linked = Promise.withResolvers<GatewayLink>();
    const handlers = {
      configure: vi.fn<GatewayHandlers['configure']>((_, given) => {
        linked.resolve(given);
        return Promise.resolve(ready);
      }),
      request: vi.fn<GatewayHandlers['request']>(() => Promise.resolve({ type: 'command_ok' })),
      notify: vi.fn<GatewayHandlers['notify']>(),
      connected: vi.fn<GatewayHandlers['connected']>(() => true),
      shutdown: vi.fn<GatewayHandlers['shutdown']>(() => Promise.resolve()),
    };
    const done = serveGateway({ ...handlers, ...overrides }, { stdin, stdout });
    const say = (...commands: (GatewayCommand | object)[]): void => {
      for (const command of commands) stdin.write(`${JSON.stringify(command)}\n`);
    };
    ends.push(async () => {
      stdin.end();
      stdout.resume();
      await done;
      // Nothing but valid lines was ever written.
      expect(faults).toEqual([]);
    });
    return {
      stdin,
      stdout,
      heard,
      log,
      handlers,
      done,
      say,
      listen,
      /** The first event of this type, once there is one. */
      next: <T extends GatewayEvent['type']>(type: T) =>
        until(type, () =>
          heard.find((it): it is Extract<GatewayEvent, { type: T }> => it.type === type),
        ),
      link: linked.promise,
    };
  }

  const served = async (...args: Parameters<typeof serve>) => {
    const all = serve(...args);
    all.say(configure);
    const link = await all.link;
    if (args[1]?.reads !== false) await all.next('ready');
    return { ...all, link };
  };

  /** Whether a promise has settled, in a word. */
  const stateOf = (promise: Promise<unknown>): Promise<string> =>
    Promise.race([
      promise.then(
        () => 'resolved',
        () => 'rejected',
      ),
      Promise.resolve('pending').then((it) => it),
    ]);

  test('is given "configure" and announces itself with its protocol', async () => {
    const { heard, handlers, next } = await served();
    expect(await next('ready')).toEqual({ type: 'ready', protocol: 'v1', ...ready });
    expect(heard).toHaveLength(1);
    expect(handlers.configure.mock.calls[0]?.[0]).toEqual(configure);
  });

  test('is configured once', async () => {
    const { say, handlers, log, next } = await served();
    say(configure, { type: 'ping', request_id: 'r1' });
    await next('pong');
    expect(handlers.configure).toHaveBeenCalledTimes(1);
    expect(log.join('')).toContain('second "configure"');
  });

  test.each([
    ['fatal', new GatewayFatalError('unauthorized', 'the token is wrong'), 'unauthorized', true],
    ['not fatal', new Error('no network'), 'failed', false],
  ])('ends with 1 when it cannot begin: %s', async (_, error, code, fatal) => {
    const { say, done, heard, handlers } = serve({ configure: () => Promise.reject(error) });
    say(configure);
    expect(await done).toBe(1);
    expect(heard).toEqual([
      { type: 'error', code, message: error.message, fatal },
      { type: 'shutdown', reason: code },
    ]);
    expect(handlers.shutdown).not.toHaveBeenCalled();
  });

  test('ends with 1 when "configure" is of another major version', async () => {
    const { say, done, heard, handlers } = serve();
    say({ ...configure, protocol: 'v2' });
    expect(await done).toBe(1);
    expect(heard[0]).toMatchObject({ type: 'error', code: 'invalid_request', fatal: true });
    expect(handlers.configure).not.toHaveBeenCalled();
  });

  test('ends with 1 when it announces what is not valid', async () => {
    const { say, done, heard } = serve({
      configure: () => Promise.resolve({ ...ready, gateway: '' }),
    });
    say(configure);
    expect(await done).toBe(1);
    expect(heard.map(({ type }) => type)).toEqual(['error', 'shutdown']);
  });

  test('ends with 1 when it says a fatal error later', async () => {
    const { link, done, handlers, heard } = await served();
    link.send({ type: 'error', code: 'conflict', message: 'another one polls', fatal: true });
    expect(link.signal.aborted).toBe(true);
    expect(await done).toBe(1);
    expect(handlers.shutdown).toHaveBeenCalledTimes(1);
    expect(heard.map(({ type }) => type)).toEqual(['ready', 'error', 'shutdown']);
  });

  test('has an event delivered when it is acknowledged, and not before', async () => {
    const { link, say, next, heard } = await served();
    const deliveries = ['e1', 'e2', 'e3'].map((id) => link.deliver(received(id)));
    await until('all three', () => heard.length === 4);
    expect(heard.slice(1)).toEqual(['e1', 'e2', 'e3'].map(received));
    say({ type: 'ack', event_ids: ['e2', 'strange', '__proto__'] });
    await deliveries[1];
    say({ type: 'ping', request_id: 'r1' });
    await next('pong');
    expect(await Promise.all(deliveries.map(stateOf))).toEqual(['pending', 'resolved', 'pending']);
    say({ type: 'ack', event_ids: ['e1', 'e3'] });
    await Promise.all(deliveries);
  });

  test('sends an event once where it is delivered twice before its ack', async () => {
    const { link, say, heard } = await served();
    const twice = [link.deliver(received('e1')), link.deliver(received('e1'))];
    await until('the event', () => heard.length > 1);
    say({ type: 'ack', event_ids: ['e1'] });
    await Promise.all(twice);
    expect(heard).toHaveLength(2);
  });

  test.each([
    ['without an id', { ...received('e1'), event_id: undefined }, 'needs an event_id'],
    ['that is not valid', { ...received('e1'), message_id: '' }, '/message_id'],
    ['too long', { ...received('e1'), content: { text: 'x'.repeat(MAX_LINE_BYTES) } }, '1048576'],
    ['too deep', { ...received('e1'), metadata: deep(70) }, 'deeper than 64'],
    ['with too long a cursor', { ...received('e1'), cursor: 'x'.repeat(20_000) }, '16384 bytes'],
  ])('does not deliver an event %s', async (_, event, why) => {
    const { link, heard } = await served();
    await expect(link.deliver(event)).rejects.toThrow(why);
    expect(heard).toHaveLength(1);
  });

  test('holds back what comes before "ready", but for what may', async () => {
    const connected = Promise.withResolvers<void>();
    const { say, heard, next, handlers } = serve({
      configure: async (_, link) => {
        link.send({ type: 'auth_required', message: 'open this' });
        link.send({ type: 'inbound_gap', from: '1', to: '2', reason: 'too old' });
        link.deliver(received('e1')).catch(() => {});
        await connected.promise;
        return ready;
      },
    });
    say(configure, { type: 'ping', request_id: 'r1' }, send('r2'));
    say({ type: 'send_typing', chat_id: '1', duration: 1 });
    expect(await next('pong')).toMatchObject({ request_id: 'r1', connected: false });
    expect(heard.map(({ type }) => type)).toEqual(['auth_required', 'pong']);
    connected.resolve();
    await next('command_error');
    expect(heard.slice(2)).toMatchObject([
      { type: 'ready' },
      { type: 'inbound_gap' },
      { type: 'message_received' },
      { type: 'command_error', request_id: 'r2', code: 'not_connected', uncertain: false },
    ]);
    expect(handlers.request).not.toHaveBeenCalled();
    expect(handlers.notify).not.toHaveBeenCalled();
  });

  test('answers requests as they are done, several at once', async () => {
    const answers = new Map<string, (body: AnswerBody) => void>();
    const { say, heard } = await served({
      request: ({ request_id }) => new Promise((resolve) => answers.set(request_id, resolve)),
    });
    say(send('r1'), send('r2'));
    await until('both', () => answers.size === 2);
    answers.get('r2')?.({ type: 'command_ok', message_id: '22' });
    await until('one answer', () => heard.length === 2);
    answers.get('r1')?.({
      type: 'command_error',
      code: 'rate_limited',
      message: 'x'.repeat(5000),
      retry_after_ms: 1500,
    });
    await until('both answers', () => heard.length === 3);
    expect(heard.slice(1)).toEqual([
      { type: 'command_ok', request_id: 'r2', message_id: '22' },
      {
        type: 'command_error',
        request_id: 'r1',
        code: 'rate_limited',
        message: 'x'.repeat(4000),
        retry_after_ms: 1500,
        uncertain: false,
      },
    ]);
  });

  test('answers what throws as uncertain, with the message and never the stack', async () => {
    const { say, heard, log } = await served({
      request: ({ request_id }) => {
        const error = new Error(`broken ${request_id}`);
        if (request_id === 'r1') throw error;
        return Promise.reject(error);
      },
    });
    say(send('r1'), send('r2'));
    await until('both answers', () => heard.length === 3);
    expect(heard.slice(1)).toEqual(
      ['r1', 'r2'].map((id) => ({
        type: 'command_error',
        request_id: id,
        code: 'platform_error',
        message: `broken ${id}`,
        uncertain: true,
      })),
    );
    expect(log.join('')).toContain('node.int.test.ts');
  });

  test('answers where a handler made no valid answer', async () => {
    const { say, next } = await served({
      request: () => Promise.resolve({ type: 'command_ok', message_id: '' }),
    });
    say(send('r1'));
    expect(await next('command_error')).toMatchObject({ code: 'platform_error', uncertain: true });
  });

  test('answers a request that is not valid, and ignores a type that is not known', async () => {
    const { say, heard, next, handlers } = await served();
    say({ type: 'dance', request_id: 'r0' });
    say({ ...send('r1'), chat_id: '' }, { ...send('r2'), chat_id: 5, request_id: 7 });
    say({ type: 'ping', request_id: 'r3' });
    await next('pong');
    expect(heard.slice(1)).toMatchObject([
      { type: 'command_error', request_id: 'r1', code: 'invalid_request', uncertain: false },
      { type: 'pong' },
    ]);
    expect(handlers.request).not.toHaveBeenCalled();
  });

  test('refuses the 257th request at once, for the server to try again', async () => {
    const { say, next, handlers } = await served({ request: () => new Promise(() => {}) });
    say(...Array.from({ length: 257 }, (_, index) => send(`r${index}`)));
    expect(await next('command_error')).toMatchObject({
      request_id: 'r256',
      code: 'rate_limited',
      retry_after_ms: 1000,
      uncertain: false,
    });
    expect(handlers.request).not.toHaveBeenCalledTimes(257);
    say({ type: 'shutdown', deadline_ms: 0 });
  });

  test('answers a request once, also where its id comes again', async () => {
    const release = Promise.withResolvers<AnswerBody>();
    const request = vi.fn<GatewayHandlers['request']>(() => release.promise);
    const { say, next, heard } = await served({ request });
    say(send('r1'), send('r1'), { ...send('r1'), chat_id: '' });
    say({ type: 'ping', request_id: 'r2' });
    await next('pong');
    release.resolve({ type: 'command_ok' });
    await next('command_ok');
    expect(request).toHaveBeenCalledTimes(1);
    expect(heard.map(({ type }) => type)).toEqual(['ready', 'pong', 'command_ok']);
  });

  test('has errors of what is not answered in its log only', async () => {
    const { say, next, heard, log } = await served({
      notify: vi
        .fn<GatewayHandlers['notify']>()
        .mockImplementationOnce(() => {
          throw new Error('first');
        })
        // An async function is of the type too.
        .mockImplementationOnce(() => Promise.reject(new Error('second')) as unknown as undefined),
    });
    say({ type: 'send_typing', chat_id: '1', duration: 1 });
    say({ type: 'preview_message', preview_id: 'p', chat_id: '1', content: 'x' });
    say({ type: 'ping', request_id: 'r1' });
    await next('pong');
    await until('both errors', () => /first[\s\S]*second/.test(log.join('')));
    expect(heard).toHaveLength(2);
  });

  test('answers a ping with whether it is connected, also where that throws', async () => {
    const connected = vi
      .fn<GatewayHandlers['connected']>()
      .mockReturnValueOnce(false)
      .mockImplementationOnce(() => {
        throw new Error('broken');
      })
      .mockReturnValue(true);
    const { say, heard } = await served({ connected });
    for (const request_id of ['r1', 'r2', 'r3']) say({ type: 'ping', request_id });
    await until('all pongs', () => heard.length === 4);
    expect(heard.slice(1)).toMatchObject([
      { type: 'pong', request_id: 'r1', connected: false },
      { type: 'pong', request_id: 'r2', connected: false },
      { type: 'pong', request_id: 'r3', connected: true },
    ]);
  });

  test('goes on after lines that make no sense', async () => {
    const { stdin, say, next, log } = await served();
    stdin.write(`garbage\nnull\n${'['.repeat(100)}\n${'x'.repeat(MAX_LINE_BYTES + 1)}\n`);
    say({ type: 'ping', request_id: 'r1' });
    await next('pong');
    for (const kind of ['not_json', 'invalid', 'too_deep', 'too_long']) {
      expect(log.join('')).toContain(kind);
    }
  });

  test('ends on "shutdown": open requests are answered, then it says so, and nothing more', async () => {
    const release = Promise.withResolvers<AnswerBody>();
    const { say, link, heard, done, handlers, next } = await served({
      request: () => release.promise,
    });
    const delivery = link.deliver(received('e1'));
    say(send('r1'), { type: 'shutdown', deadline_ms: 20_000 }, send('r2'));
    expect(await next('command_error')).toMatchObject({ request_id: 'r2', code: 'not_connected' });
    expect(link.signal.aborted).toBe(true);
    expect(handlers.shutdown).toHaveBeenCalledExactlyOnceWith({ deadlineMs: 19_500 });
    await expect(link.deliver(received('e2'))).rejects.toThrow('ended before');
    // What was sent before may still become durable.
    say({ type: 'ack', event_ids: ['e1'] });
    await delivery;
    release.resolve({ type: 'command_ok', message_id: '11' });
    expect(await done).toBe(0);
    link.send({ type: 'inbound_gap', from: '1', to: '2', reason: 'late' });
    expect(heard.slice(-2)).toEqual([
      { type: 'command_ok', request_id: 'r1', message_id: '11' },
      { type: 'shutdown', reason: 'the server asked' },
    ]);
  });

  test('gives up at the deadline: what is open is uncertain, what is not durable rejects', async () => {
    let signal: AbortSignal | undefined;
    const { say, link, heard, done } = await served({
      request: (_, options) => {
        signal = options.signal;
        return new Promise(() => {});
      },
      shutdown: () => new Promise(() => {}),
    });
    const delivery = link.deliver(received('e1'));
    say(send('r1'), { type: 'shutdown', deadline_ms: 20 });
    await expect(delivery).rejects.toThrow('ended before');
    expect(await done).toBe(0);
    expect(signal?.aborted).toBe(true);
    expect(heard.slice(-2)).toMatchObject([
      { type: 'command_error', request_id: 'r1', code: 'platform_error', uncertain: true },
      { type: 'shutdown' },
    ]);
  });

  test('ends when stdin does, though its own end fails', async () => {
    const { stdin, link, heard, done, log } = await served({
      shutdown: () => Promise.reject(new Error('no end')),
    });
    const delivery = link.deliver(received('e1'));
    stdin.end();
    await expect(delivery).rejects.toThrow('ended before');
    expect(await done).toBe(0);
    expect(heard.at(-1)).toEqual({ type: 'shutdown', reason: 'stdin ended' });
    expect(log.join('')).toContain('no end');
  });

  test('ends where stdin fails, before it was configured or while it is', async () => {
    const failing = serve();
    failing.stdin.destroy(new Error('EIO'));
    expect(await failing.done).toBe(0);
    expect(failing.handlers.shutdown).not.toHaveBeenCalled();

    const connecting = serve({
      configure: (_, { signal }) =>
        new Promise((__, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    });
    connecting.say(configure);
    connecting.stdin.end();
    expect(await connecting.done).toBe(0);
    expect(connecting.handlers.shutdown).toHaveBeenCalledTimes(1);
    expect(connecting.heard).toEqual([{ type: 'shutdown', reason: 'stdin ended' }]);
  });

  test('does not announce itself when it was told to end meanwhile', async () => {
    const { stdin, say, done, heard } = serve({
      configure: async (_, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return ready;
      },
    });
    say(configure);
    stdin.end();
    expect(await done).toBe(0);
    expect(heard).toEqual([{ type: 'shutdown', reason: 'stdin ended' }]);
  });

  test('rejects what can no longer become durable before its end is over', async () => {
    const { stdin, link, heard, done } = await served({ shutdown: () => new Promise(() => {}) });
    const delivery = link.deliver(received('e1'));
    stdin.end();
    await expect(delivery).rejects.toThrow('ended before');
    expect(heard.map(({ type }) => type)).not.toContain('shutdown');
    await done;
  });

  test('does not crash where nobody waits for what it delivers', async () => {
    const { stdin, link, done } = await served();
    // An unhandled rejection would fail this run.
    void link.deliver(received('e1'));
    stdin.end();
    expect(await done).toBe(0);
  });

  test('ends with 1 when nobody can read it any more', async () => {
    const { stdout, link, done, handlers } = await served();
    const delivery = link.deliver(received('e1'));
    stdout.destroy(new Error('EPIPE'));
    await expect(delivery).rejects.toThrow('ended before');
    expect(await done).toBe(1);
    expect(handlers.shutdown).toHaveBeenCalledTimes(1);
  });

  test('ends after SIGTERM where its server does not end it within 10 s', async () => {
    const { heard, done } = await served();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      process.emit('SIGTERM');
      await vi.advanceTimersByTimeAsync(9_900);
      expect(await stateOf(done)).toBe('pending');
      await vi.advanceTimersByTimeAsync(200);
    } finally {
      vi.useRealTimers();
    }
    expect(await done).toBe(143);
    expect(heard.at(-1)).toEqual({ type: 'shutdown', reason: 'SIGTERM' });
    expect(process.listeners('SIGTERM')).toEqual([]);
  });

  test('waits for a slow reader, and loses and reorders nothing', async () => {
    const { stdout, link, say, heard, listen } = await served({}, { reads: false });
    const events = Array.from({ length: 300 }, (_, index) => ({
      ...received(`e${index}`),
      content: { text: 'x'.repeat(2000) },
    }));
    const deliveries = events.map((event) => link.deliver(event));
    say(send('r1'));
    await until('it is behind', () => stdout.writableNeedDrain);
    // It stops at the stream's mark, and keeps the rest to itself.
    expect(stdout.readableLength + stdout.writableLength).toBeLessThan(256 * 1024);
    listen();
    await until('all', () => heard.length === 302);
    expect(heard.filter(({ type }) => type === 'message_received')).toEqual(events);
    say({ type: 'ack', event_ids: events.map((_, index) => `e${index}`) });
    await Promise.all(deliveries);
  });

  const large = (id: string) => ({
    ...received(id),
    content: { text: 'x'.repeat(1_000_000) },
  });

  test('delivers nothing more where 16 MiB wait', async () => {
    const { link } = await served({}, { reads: false });
    const outcomes = Array.from({ length: 20 }, (_, index) =>
      link.deliver(large(`e${index}`)).catch((error: unknown) => error),
    );
    expect(await Promise.any(outcomes)).toBeInstanceOf(RangeError);
  });

  test('delivers as much as is read', async () => {
    const { link, say, heard } = await served();
    for (let n = 0; n < 20; n += 1) {
      const delivery = link.deliver(large(`e${n}`));
      await until('it was read', () => heard.length === n + 2);
      say({ type: 'ack', event_ids: [`e${n}`] });
      await delivery;
    }
  });
});

function deep(levels: number): Record<string, unknown> {
  let value: Record<string, unknown> = {};
  for (let level = 1; level < levels; level += 1) value = { value };
  return value;
}

describe('a gateway process', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** A gateway that delivers as many events of 1000 characters as its config says. */
  const program = `
    import { serveGateway } from '@duragent/protocol/node';
    process.exitCode = await serveGateway({
      configure: async ({ config }, link) => {
        for (let n = 0; n < config.events; n += 1) {
          link.deliver({
            type: 'message_received', event_id: 'e' + n, message_id: String(n), edited: false,
            chat_id: '1', sender: { id: '2', is_bot: false }, content: { text: 'x'.repeat(1000) },
            routing: { chat_type: 'dm', chat_id: '1', sender_id: '2' }, mentions_bot: false,
            reply_to_bot: false, timestamp: '2026-11-20T08:15:30.123Z', metadata: {},
          }).then(() => process.stderr.write('durable\\n'), () => {});
        }
        return { gateway: 'loop', version: '1', capabilities: ['ack'] };
      },
      request: async () => ({ type: 'command_ok' }),
      notify: () => {},
      connected: () => true,
      shutdown: async () => process.stderr.write('stopping\\n'),
    });
  `;

  function start(config: { events: number }) {
    const child = spawn(
      process.execPath,
      ['--conditions=@duragent/source', '--input-type=module', '--eval', program],
      { cwd: path.join(import.meta.dirname, '..'), stdio: 'pipe' },
    );
    children.push(child);
    child.stdin.on('error', () => {});
    let log = '';
    child.stderr.on('data', (chunk) => (log += String(chunk)));
    const heard: GatewayEvent[] = [];
    const faults: LineFault[] = [];
    const reader = new JsonLineReader({
      value: (value) => heard.push(value as GatewayEvent),
      fault: (fault) => faults.push(fault),
    });
    const say = (command: object): unknown => child.stdin.write(`${JSON.stringify(command)}\n`);
    say({ ...configure, config });
    return {
      child,
      heard,
      faults,
      say,
      log: () => log,
      listen: () => child.stdout.on('data', (chunk: Uint8Array) => reader.push(chunk)),
      exited: once(child, 'close').then(([code]) => code as number | null),
    };
  }

  test('begins, delivers, and ends by itself with the end of stdin, its last line written', async () => {
    const { child, heard, faults, say, log, listen, exited } = start({ events: 1 });
    listen();
    await until('the event', () => heard.length === 2);
    say({ type: 'ack', event_ids: ['e0'] });
    await until('the ack', () => log().includes('durable'));
    child.stdin.end();
    expect(await exited).toBe(0);
    expect(heard.map(({ type }) => type)).toEqual(['ready', 'message_received', 'shutdown']);
    expect(faults).toEqual([]);
  });

  test('goes on while nobody reads what it writes, and then nothing is missing', async () => {
    const { child, heard, faults, say, log, listen, exited } = start({ events: 3000 });
    await once(child.stdout, 'readable');
    // Its stdout is full when it reads this.
    say({ type: 'shutdown', deadline_ms: 20_000 });
    await until('it goes on', () => log().includes('stopping'));
    listen();
    expect(await exited).toBe(0);
    expect(faults).toEqual([]);
    const types = heard.map(({ type }) => type);
    expect(types.filter((type) => type === 'message_received')).toHaveLength(3000);
    expect([types[0], types.at(-1)]).toEqual(['ready', 'shutdown']);
  });

  test('does what it is asked after a SIGTERM that its server got too; a second one ends it', async () => {
    const told = start({ events: 0 });
    told.listen();
    await until('it is ready', () => told.heard.length === 1);
    told.child.kill('SIGTERM');
    told.say(send('r1'));
    await until('the answer', () => told.heard.length === 2);
    told.say({ type: 'shutdown', deadline_ms: 2000 });
    expect(await told.exited).toBe(0);
    expect(told.heard.map(({ type }) => type)).toEqual(['ready', 'command_ok', 'shutdown']);

    const alone = start({ events: 0 });
    alone.listen();
    await until('it is ready', () => alone.heard.length === 1);
    alone.child.kill('SIGTERM');
    alone.say({ type: 'ping', request_id: 'p1' });
    await until('it still answers', () => alone.heard.length === 2);
    alone.child.kill('SIGTERM');
    await alone.exited;
    expect(alone.child.signalCode).toBe('SIGTERM');
  });

  test('ends by itself, and without a crash, when its pipes are cut', async () => {
    const { child, log, exited } = start({ events: 3000 });
    await once(child.stdout, 'readable');
    child.stdout.destroy();
    child.stdin.destroy();
    const code = await exited;
    expect([0, 1]).toContain(code);
    expect(log()).toContain('stopping');
    expect(log()).not.toMatch(/Error/);
  });
});
