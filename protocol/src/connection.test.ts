import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  GatewayConnection,
  type GatewayConnectionOptions,
  type LineFault,
  MAX_OPEN_REQUESTS,
  printable,
  readGatewayCommand,
  readGatewayEvent,
} from './connection.ts';
import { type CommandOf, type GatewayCommand, gatewayCommandSchema } from './gateway/command.ts';
import { type GatewayEvent, gatewayEventSchema } from './gateway/event.ts';
import { DEFAULT_LIMITS } from './gateway/handshake.ts';

const configure: CommandOf<'configure'> = {
  type: 'configure',
  protocol: 'v1',
  name: 'telegram',
  account: 'telegram',
  config: {},
  cursor: null,
  limits: DEFAULT_LIMITS,
  media_dir: '/media',
  streaming: 'edit',
  commands: [],
};
const ready = { type: 'ready', gateway: 'telegram', protocol: 'v1' };
const message = {
  type: 'message_received',
  event_id: 'e1',
  message_id: '7',
  chat_id: '1',
  sender: { id: '2' },
  content: { text: 'hello' },
  routing: { chat_type: 'dm', chat_id: '1', sender_id: '2' },
  timestamp: '2026-11-20T08:15:30.123Z',
};
const send = (id: string): CommandOf<'send_message'> => ({
  type: 'send_message',
  request_id: id,
  chat_id: '1',
  content: 'hello',
  format: 'markdown',
  part: 1,
  parts: 1,
});
const find = (id: string): CommandOf<'find_message'> => ({
  type: 'find_message',
  request_id: id,
  chat_id: '1',
  content: 'hello',
  author: 'self',
  after: '2026-11-20T08:15:30.123Z',
});
const ping = (id: string): CommandOf<'ping'> => ({ type: 'ping', request_id: id });

/** Timers that fire when they are told to. */
function timers(): Pick<GatewayConnectionOptions, 'after'> & {
  pending: Set<{ ms: number; callback: () => void }>;
  fire: (ms: number) => void;
} {
  const pending = new Set<{ ms: number; callback: () => void }>();
  return {
    pending,
    after: (ms, callback) => {
      const timer = { ms, callback };
      pending.add(timer);
      return () => pending.delete(timer);
    },
    fire: (ms) => {
      for (const timer of pending) {
        if (timer.ms === ms && pending.delete(timer)) timer.callback();
      }
    },
  };
}

/** A connection whose other end is a list of what was written. */
function connect(options: { write?: (command: GatewayCommand) => boolean } = {}) {
  const written: GatewayCommand[] = [];
  const events: GatewayEvent[] = [];
  const faults: LineFault[] = [];
  const clock = timers();
  const connection = new GatewayConnection({
    write: (command) => {
      const taken = options.write?.(command) ?? true;
      if (taken) written.push(command);
      return taken;
    },
    after: clock.after,
    onEvent: (event) => events.push(event),
    onFault: (fault) => faults.push(fault),
  });
  return { connection, written, events, faults, clock };
}

/** A connection that is open. */
async function opened(options: Parameters<typeof connect>[0] = {}) {
  const all = connect(options);
  const opening = all.connection.open(configure, { timeoutMs: 10_000 });
  all.connection.receive(ready);
  await opening;
  all.written.length = 0;
  return all;
}

const never = new AbortController().signal;

afterEach(() => {
  expect(Object.keys(Object.prototype)).toEqual([]);
});

describe('the handshake', () => {
  test('sends "configure" and resolves with the first "ready", its defaults filled in', async () => {
    const { connection, written, events, clock } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    expect(written).toEqual([configure]);
    connection.receive(ready);
    expect(await opening).toEqual({ ...ready, version: '', capabilities: [] });
    expect(events).toEqual([]);
    expect(clock.pending.size).toBe(0);
  });

  test.each(['v1', 'v1.3', 'v1.12', 'v1alpha1'])('takes a gateway of %s', async (protocol) => {
    const { connection } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    connection.receive({ ...ready, protocol });
    expect((await opening).protocol).toBe(protocol);
  });

  test.each(['v2', 'v10', 'v1beta1', 'v0', '1', 'v1.', 'v1.x', ' v1', '__proto__'])(
    'refuses a gateway of %j',
    async (protocol) => {
      const { connection, events, faults, clock } = connect();
      const opening = connection.open(configure, { timeoutMs: 10_000 });
      connection.receive({ ...ready, protocol });
      await expect(opening).rejects.toMatchObject({
        name: 'GatewayHandshakeError',
        code: 'version',
        message: expect.stringContaining('install versions of both that fit'),
      });
      connection.receive(message);
      expect([events, faults, clock.pending.size]).toEqual([[], [], 0]);
    },
  );

  test('fails where "ready" does not come in time, and takes none that comes later', async () => {
    const { connection, events, clock } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    clock.fire(10_000);
    await expect(opening).rejects.toMatchObject({ code: 'timeout' });
    connection.receive(ready);
    connection.receive(message);
    expect(events).toEqual([]);
    expect(connection.notify({ type: 'send_typing', chat_id: '1', duration: 1 })).toBe(false);
  });

  test('fails with the reason of a fatal error, which is passed on too', async () => {
    const { connection, events } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    const error = { type: 'error', code: 'conflict', message: 'another one polls', fatal: true };
    connection.receive(error);
    await expect(opening).rejects.toMatchObject({
      code: 'refused',
      reason: 'conflict',
      message: 'conflict: another one polls',
    });
    expect(events).toEqual([error]);
  });

  test('goes on after an error that is not fatal', async () => {
    const { connection, events } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    connection.receive({ type: 'error', code: 'not_connected' });
    connection.receive(ready);
    expect((await opening).gateway).toBe('telegram');
    expect(events).toHaveLength(1);
  });

  test('fails where the connection is closed first, or the gateway does not read', async () => {
    const { connection } = connect();
    const opening = connection.open(configure, { timeoutMs: 10_000 });
    connection.close('it exited with 1');
    await expect(opening).rejects.toMatchObject({ code: 'closed', message: 'it exited with 1' });

    const deaf = connect({ write: () => false });
    const refused = deaf.connection.open(configure, { timeoutMs: 10_000 });
    await expect(refused).rejects.toMatchObject({ code: 'closed' });
    expect(deaf.clock.pending.size).toBe(0);
  });

  test('happens once', async () => {
    const { connection, written } = await opened();
    const again = connection.open(configure, { timeoutMs: 10_000 });
    await expect(again).rejects.toMatchObject({ code: 'closed' });
    expect(written).toEqual([]);
    expect(connection.notify({ type: 'send_typing', chat_id: '1', duration: 1 })).toBe(true);
  });

  test('lets through what may come before "ready", and takes the rest as faults', () => {
    const { connection, events, faults } = connect();
    void connection.open(configure, { timeoutMs: 10_000 });
    for (const type of ['auth_required', 'auth_success', 'shutdown']) connection.receive({ type });
    connection.receive({ type: 'pong', request_id: 'r1' });
    expect(events.map(({ type }) => type)).toEqual(['auth_required', 'auth_success', 'shutdown']);
    expect(faults).toEqual([]);
    connection.receive(message);
    connection.receive({ type: 'preview_posted', preview_id: 'p', message_id: '1' });
    connection.receive({ type: 'command_ok', request_id: 'r1' });
    expect(events).toHaveLength(3);
    expect(faults).toEqual(
      ['message_received', 'preview_posted', 'command_ok'].map((type) => ({
        kind: 'invalid',
        type,
        fault: 'it came before "ready"',
      })),
    );
  });

  test('has not begun before "configure" was sent', () => {
    const { connection, faults } = connect();
    connection.receive(ready);
    expect(faults).toEqual([{ kind: 'invalid', type: 'ready', fault: 'it came before "ready"' }]);
  });
});

describe('events', () => {
  test('are passed on in order, a second "ready" among them', async () => {
    const { connection, events, faults } = await opened();
    connection.receive(message);
    connection.receive({ ...ready, limits: { max_length: 4096, length_unit: 'utf16' } });
    connection.receive({ type: 'shutdown' });
    expect(events.map(({ type }) => type)).toEqual(['message_received', 'ready', 'shutdown']);
    expect(faults).toEqual([]);
  });

  test('that are not valid are faults, and the next one is taken', async () => {
    const { connection, events, faults } = await opened();
    connection.receive({ ...message, sender: { id: 5 } });
    connection.receive({ type: 'sneezed' });
    connection.receive(null);
    connection.receive(message);
    expect(faults).toEqual([
      {
        kind: 'invalid',
        type: 'message_received',
        fault: '/sender/id: Invalid input: expected string, received number',
      },
      { kind: 'unknown', type: 'sneezed' },
      { kind: 'invalid', type: null, fault: 'a line is a JSON object' },
    ]);
    expect(events).toHaveLength(1);
  });

  test('have lengths in code points, as in JSON Schema', async () => {
    const { connection, events, faults } = await opened();
    connection.receive({ ...message, message_id: '🙂'.repeat(200) });
    connection.receive({ ...message, message_id: '🙂'.repeat(201) });
    expect(events).toHaveLength(1);
    expect(faults).toMatchObject([
      { kind: 'invalid', fault: expect.stringContaining('/message_id') },
    ]);
  });

  test('have no effect after the end', async () => {
    const { connection, events, faults } = await opened();
    connection.close('it exited');
    connection.receive(message);
    connection.receive({ type: 'sneezed' });
    connection.close('again');
    expect([events, faults]).toEqual([[], []]);
  });
});

describe('a request', () => {
  const options = { timeoutMs: 30_000, signal: never };

  test('is answered by its id, whatever the order of the answers', async () => {
    const { connection, written, clock } = await opened();
    const outcomes = ['r1', 'r2', 'r3'].map((id) => connection.request(send(id), options));
    expect(written).toEqual(['r1', 'r2', 'r3'].map(send));
    connection.receive({ type: 'command_ok', request_id: 'r3', message_id: '33' });
    connection.receive({ type: 'command_error', request_id: 'r1', code: 'blocked' });
    connection.receive({ type: 'command_ok', request_id: 'r2', message_id: '22' });
    expect(await Promise.all(outcomes)).toMatchObject([
      { type: 'answered', answer: { type: 'command_error', code: 'blocked', uncertain: false } },
      { type: 'answered', answer: { type: 'command_ok', message_id: '22' } },
      { type: 'answered', answer: { type: 'command_ok', message_id: '33' } },
    ]);
    expect(clock.pending.size).toBe(0);
  });

  test('may be answered from within the write', async () => {
    const { connection, clock } = await opened({
      write: (command) => {
        if (command.type === 'send_message') {
          connection.receive({ type: 'command_ok', request_id: command.request_id });
        }
        return true;
      },
    });
    expect(await connection.request(send('r1'), options)).toMatchObject({ type: 'answered' });
    expect(clock.pending.size).toBe(0);
  });

  test('keeps the code of an error that is not known', async () => {
    const { connection } = await opened();
    const outcome = connection.request(send('r1'), options);
    connection.receive({ type: 'command_error', request_id: 'r1', code: 'moon_phase' });
    expect(await outcome).toMatchObject({ type: 'answered', answer: { code: 'moon_phase' } });
  });

  test('is lost when no answer comes in time; the late one is unasked', async () => {
    const { connection, clock, faults } = await opened();
    const outcome = connection.request(send('r1'), options);
    clock.fire(30_000);
    expect(await outcome).toMatchObject({ type: 'lost', reason: expect.stringContaining('30000') });
    connection.receive({ type: 'command_ok', request_id: 'r1' });
    expect(faults).toEqual([{ kind: 'unasked', request_id: 'r1' }]);
  });

  test('is lost when it is aborted, and unsent when it was aborted before', async () => {
    const { connection, written, clock } = await opened();
    const controller = new AbortController();
    const { signal } = controller;
    const off = vi.spyOn(signal, 'removeEventListener');
    const outcome = connection.request(send('r1'), { timeoutMs: 30_000, signal });
    controller.abort();
    expect(await outcome).toMatchObject({ type: 'lost' });
    expect(off).toHaveBeenCalledTimes(1);
    expect(clock.pending.size).toBe(0);
    const late = await connection.request(send('r2'), { timeoutMs: 30_000, signal });
    expect(late).toMatchObject({ type: 'unsent' });
    expect(written).toEqual([send('r1')]);
  });

  test('is unsent before "ready", after the end, and when the gateway is behind', async () => {
    const early = connect();
    expect(await early.connection.request(send('r1'), options)).toMatchObject({ type: 'unsent' });
    void early.connection.open(configure, { timeoutMs: 1 });
    expect(await early.connection.request(send('r1'), options)).toMatchObject({ type: 'unsent' });

    let behind = false;
    const { connection, clock } = await opened({ write: () => !behind });
    behind = true;
    expect(await connection.request(send('r1'), options)).toMatchObject({ type: 'unsent' });
    expect(connection.notify({ type: 'send_typing', chat_id: '1', duration: 1 })).toBe(false);
    expect(clock.pending.size).toBe(0);
    behind = false;
    connection.close('it exited');
    expect(await connection.request(send('r2'), options)).toMatchObject({ type: 'unsent' });
  });

  test('that cannot be written is unsent, with the reason', async () => {
    const { connection } = await opened({
      write: ({ type }) => {
        if (type === 'send_message') throw new RangeError('the message takes 2000000 bytes');
        return true;
      },
    });
    expect(await connection.request(send('r1'), options)).toEqual({
      type: 'unsent',
      reason: 'the message takes 2000000 bytes',
    });
  });

  test('is lost, as all of them, when the connection ends', async () => {
    const { connection, clock } = await opened();
    const outcomes = ['r1', 'r2'].map((id) => connection.request(send(id), options));
    connection.close('it was killed');
    expect(await Promise.all(outcomes)).toEqual([
      { type: 'lost', reason: 'it was killed' },
      { type: 'lost', reason: 'it was killed' },
    ]);
    expect(clock.pending.size).toBe(0);
  });

  test('whose id is in use is unsent, and the first one goes on', async () => {
    const { connection, written } = await opened();
    const first = connection.request(send('r1'), options);
    expect(await connection.request(find('r1'), options)).toMatchObject({ type: 'unsent' });
    connection.receive({ type: 'command_ok', request_id: 'r1' });
    expect(await first).toMatchObject({ type: 'answered' });
    expect(written).toHaveLength(1);
  });

  test('is unsent where too many are open', async () => {
    const { connection, written } = await opened();
    const outcomes = Array.from({ length: MAX_OPEN_REQUESTS + 1 }, (_, index) =>
      connection.request(send(`r${index}`), options),
    );
    expect(await outcomes.at(-1)).toMatchObject({ type: 'unsent' });
    expect(written).toHaveLength(MAX_OPEN_REQUESTS);
    connection.close('over');
  });

  test.each([
    [send('r1'), 'message_found', { message_id: '1' }],
    [send('r1'), 'pong', {}],
    [find('r1'), 'command_ok', {}],
    [ping('r1'), 'message_not_found', {}],
  ])('%j is not answered by %s', async (request, type, fields) => {
    const { connection, faults, clock } = await opened();
    const outcome = connection.request(request, options);
    connection.receive({ type, request_id: 'r1', ...fields });
    expect(faults).toEqual([{ kind: 'invalid', type, fault: `it answers no ${request.type}` }]);
    clock.fire(30_000);
    expect(await outcome).toMatchObject({ type: 'lost' });
  });

  test.each([
    [find('r1'), { type: 'message_found', request_id: 'r1', message_id: '1' }],
    [find('r1'), { type: 'message_not_found', request_id: 'r1' }],
    [find('r1'), { type: 'command_error', request_id: 'r1', code: 'not_connected' }],
    [ping('r1'), { type: 'pong', request_id: 'r1', uptime_seconds: 3, connected: false }],
  ])('%j is answered by %j', async (request, answer) => {
    const { connection } = await opened();
    const outcome = connection.request(request, options);
    connection.receive(answer);
    expect(await outcome).toMatchObject({ type: 'answered', answer });
  });

  test('ping is answered by a pong without an id, the oldest first', async () => {
    const { connection, faults } = await opened();
    const outcomes = [send('r0'), ping('r1'), ping('r2')].map((it) =>
      connection.request(it, options),
    );
    connection.receive({ type: 'pong', uptime_seconds: 1 });
    connection.receive({ type: 'pong', uptime_seconds: 2 });
    expect(await Promise.all(outcomes.slice(1))).toMatchObject([
      { answer: { uptime_seconds: 1 } },
      { answer: { uptime_seconds: 2 } },
    ]);
    connection.receive({ type: 'pong' });
    expect(faults).toEqual([{ kind: 'unasked', request_id: '' }]);
    connection.close('over');
  });

  test.each(['__proto__', 'constructor', 'toString'])('may have the id %s', async (id) => {
    const { connection, faults } = await opened();
    connection.receive({ type: 'command_ok', request_id: id });
    expect(faults).toEqual([{ kind: 'unasked', request_id: id }]);
    const outcome = connection.request(send(id), options);
    connection.receive({ type: 'command_ok', request_id: id });
    expect(await outcome).toMatchObject({ type: 'answered' });
  });
});

describe('reading a line', () => {
  test('keeps fields that are not known', () => {
    const result = readGatewayEvent({ ...message, mood: 'fine', sender: { id: '2', hat: 1 } });
    expect(result).toMatchObject({ ok: true, event: { mood: 'fine', sender: { hat: 1 } } });
    expect(readGatewayCommand({ ...ping('r1'), mood: 'fine' })).toMatchObject({
      ok: true,
      command: { mood: 'fine' },
    });
  });

  test.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString', ''])(
    'of type %j gives an unknown type',
    (type) => {
      expect(readGatewayEvent({ type })).toEqual({ ok: false, fault: { kind: 'unknown', type } });
      expect(readGatewayCommand({ type })).toEqual({ ok: false, fault: { kind: 'unknown', type } });
    },
  );

  test('with keys of the prototype changes nothing but its own object', () => {
    const evil = '{"__proto__":{"evil":1},"constructor":{"prototype":{"evil":1}}';
    const line = `${evil},${JSON.stringify({ ...message, metadata: 0 }).slice(1)}`.replace(
      '"metadata":0',
      `"metadata":${evil}}`,
    );
    const result = readGatewayEvent(JSON.parse(line));
    expect(result).toMatchObject({ ok: true });
    const event = result.ok ? result.event : null;
    expect(Object.getPrototypeOf(event)).toBe(Object.prototype);
    expect(event).not.toHaveProperty('evil');
    expect(event).not.toHaveProperty('metadata.evil');
    expect({}).not.toHaveProperty('evil');
  });

  test('does not take a cursor of more than 16 KiB', () => {
    const of = (length: number) =>
      readGatewayEvent({ ...message, cursor: 'x'.repeat(length - 2) }).ok;
    expect([of(16 * 1024), of(16 * 1024 + 1)]).toEqual([true, false]);
    expect(readGatewayEvent({ ...message, cursor: { offset: 12 } }).ok).toBe(true);
    expect(readGatewayEvent({ ...message, cursor: null }).ok).toBe(true);
  });

  test('names no more of what is wrong than can be shown', () => {
    const fault = readGatewayEvent({ type: `\u001b[2J\u202e${'x'.repeat(1000)}` });
    expect(fault).toEqual({
      ok: false,
      fault: { kind: 'unknown', type: `\uFFFD[2J\uFFFD${'x'.repeat(95)}` },
    });
  });

  test('never throws, whatever the value', () => {
    const types = [...gatewayEventSchema.options, ...gatewayCommandSchema.options].map(
      ({ shape }) => shape.type.value,
    );
    const values = fc.oneof(
      fc.jsonValue(),
      fc
        .tuple(fc.constantFrom(...types), fc.dictionary(fc.string(), fc.jsonValue()))
        .map(([type, fields]) => ({ ...fields, type })),
    );
    fc.assert(
      fc.property(values, (value) => {
        const { connection, faults, events } = connect();
        connection.receive(value);
        expect(faults.length + events.length).toBeLessThanOrEqual(1);
        expect(typeof readGatewayCommand(value).ok).toBe('boolean');
      }),
    );
  });
});

describe('printable text', () => {
  test('has nothing that moves or hides other text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
        const shown = printable(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(shown.length).toBeLessThanOrEqual(500);
      }),
    );
  });

  test('is ordinary text as it was', () => {
    expect(printable('Grüße, 世界 👋\tok')).toBe('Grüße, 世界 👋 ok');
  });
});
