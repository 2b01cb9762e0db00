import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SessionEvent, SessionView } from '@duragent/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Api } from '../support/api.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { forgedConversation, forgedId, forgeLines, plantLog } from '../support/forge-log.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';

let workspace: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create();
});
afterEach(async () => {
  await workspace.close();
});

const texts = ['first', 'second', 'third with ünïcödé 🎉', 'fourth'];

/** The bytes of a log of four messages, and where each line begins. */
function forge(session: string): { bytes: Buffer; starts: number[]; lines: string[] } {
  const lines = forgeLines(session, forgedConversation(session, texts));
  const starts: number[] = [];
  let at = 0;
  for (const line of lines) {
    starts.push(at);
    at += Buffer.byteLength(line) + 1;
  }
  return { bytes: Buffer.from(`${lines.join('\n')}\n`), starts, lines };
}

async function messagesOf(api: Api, session: string): Promise<string[]> {
  const { body } = await api.get<{ messages: SessionEvent[] }>(`/sessions/${session}/messages`);
  return eventsOf(body.messages, 'user_message').map(textOf).reverse();
}

test('a forged log is read like one of the program’s own', async () => {
  const session = forgedId(1);
  await plantLog(workspace.dataDir, session, forge(session).bytes);
  const { api } = await workspace.serve();
  expect(await messagesOf(api, session)).toEqual(texts);
  expect(await api.ask(session, 'go on')).toMatchObject({ outcome: 'completed' });
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
});

test('a torn end, cut at any byte of the last record, is kept beside the log and cut off', async () => {
  const { starts, bytes: sample } = forge(forgedId(0));
  const lastStart = starts.at(-1)!;
  const cuts = Array.from({ length: sample.length - lastStart - 1 }, (_, at) => lastStart + at + 1);
  for (const [number, cut] of cuts.entries()) {
    const session = forgedId(number);
    await plantLog(workspace.dataDir, session, forge(session).bytes.subarray(0, cut));
  }
  const { api, run } = await workspace.serve();
  expect(run.stderr).toContain(
    `"torn_bytes":${cuts.reduce((sum, cut) => sum + cut - lastStart, 0)}`,
  );
  for (const [number, cut] of cuts.entries()) {
    const session = forgedId(number);
    const folder = workspace.sessionDir(session);
    const { events } = await readLog(folder);
    expect(events).toHaveLength(texts.length + 1);
    const torn = `events.jsonl.torn-${lastStart}`;
    expect(events.at(-1)).toMatchObject({
      type: 'recovered',
      bytes: cut - lastStart,
      saved_as: torn,
    });
    const saved = await readFile(path.join(folder, torn));
    expect(saved.equals(forge(session).bytes.subarray(lastStart, cut))).toBe(true);
  }
  const some = [0, 1, Math.floor(cuts.length / 2), cuts.length - 1];
  for (const number of some) {
    const session = forgedId(number);
    expect(await messagesOf(api, session)).toEqual(texts.slice(0, -1));
    expect(await api.ask(session, 'go on')).toMatchObject({ outcome: 'completed' });
    expect(settledFaults((await readLog(workspace.sessionDir(session))).events)).toEqual([]);
  }
});

describe('a log that is damaged before its end is quarantined, and every other session works', () => {
  type Log = ReturnType<typeof forge>;
  /** Offset: where the good part ends. `readable`: messages before it. */
  const damages: [
    what: string,
    damage: (log: Log) => { bytes: Buffer; offset: number; readable: number },
  ][] = [
    [
      'a flipped bit',
      ({ bytes, starts }) => {
        const flipped = Buffer.from(bytes);
        const at = starts[3]! + 150;
        flipped.writeUInt8(flipped.readUInt8(at) ^ 0x10, at);
        return { bytes: flipped, offset: starts[3]!, readable: 1 };
      },
    ],
    [
      'a flipped bit of a CRC',
      ({ bytes, starts }) => {
        const flipped = Buffer.from(bytes);
        const at = starts[3]! - 4;
        flipped.writeUInt8(flipped.readUInt8(at) ^ 0x01, at);
        return { bytes: flipped, offset: starts[2]!, readable: 0 };
      },
    ],
    [
      'a record that is missing',
      ({ bytes, starts }) => ({
        bytes: Buffer.concat([bytes.subarray(0, starts[3]), bytes.subarray(starts[4])]),
        offset: starts[3]!,
        readable: 1,
      }),
    ],
    [
      'a line that is no JSON',
      ({ bytes, starts }) => ({
        bytes: Buffer.concat([
          bytes.subarray(0, starts[3]),
          Buffer.from('garbage\n'),
          bytes.subarray(starts[3]),
        ]),
        offset: starts[3]!,
        readable: 1,
      }),
    ],
    [
      'a header that is missing',
      ({ bytes, starts }) => ({ bytes: bytes.subarray(starts[1]), offset: 0, readable: 0 }),
    ],
    [
      'the log of another session',
      () => ({ bytes: forge(forgedId(99)).bytes, offset: 0, readable: 0 }),
    ],
  ];

  const healthy = forgedId(50);
  const damaged = damages.map(([, damage], number) => {
    const session = forgedId(number);
    return { session, ...damage(forge(session)) };
  });
  let damagedPlace: Workspace;
  let server: Server;
  beforeAll(async () => {
    damagedPlace = await Workspace.create();
    for (const { session, bytes } of damaged) {
      await plantLog(damagedPlace.dataDir, session, bytes);
    }
    await plantLog(damagedPlace.dataDir, healthy, forge(healthy).bytes);
    server = await damagedPlace.serve();
  });
  afterAll(async () => {
    await damagedPlace.close();
  });

  test.each(damages.map(([what], number) => [what, number] as const))('%s', async (_, number) => {
    const { api } = server;
    const { session, bytes, offset, readable } = damaged[number]!;
    expect(await api.session(session)).toMatchObject({
      session,
      status: 'quarantined',
      quarantine: { file: 'events.jsonl', offset },
    });
    expect(await messagesOf(api, session)).toEqual(texts.slice(0, readable));
    const reader = await api.events(session);
    await reader.untilCaughtUp();
    expect(eventsOf(reader.events, 'user_message')).toHaveLength(readable);
    reader.close();
    for (const route of ['messages', 'stream', 'cancel']) {
      const body = route === 'cancel' ? {} : { content: 'no' };
      const refusal = await api.refused('POST', `/api/v1/sessions/${session}/${route}`, { body });
      const place = { file: 'events.jsonl', offset };
      expect(refusal).toMatchObject({ status: 409, code: 'session_quarantined', ...place });
    }
    const kept = await readFile(path.join(damagedPlace.sessionDir(session), 'events.jsonl'));
    expect(kept.equals(bytes)).toBe(true);
  });

  test('and each is told at the start and in listings', async () => {
    expect(server.run.stderr).toContain(`"quarantined":${damaged.length}`);
    const list = '/sessions?status=quarantined';
    const { body } = await server.api.get<{ sessions: SessionView[] }>(list);
    expect(body.sessions.map((one) => one.session).sort()).toEqual(
      damaged.map((one) => one.session).sort(),
    );
  });

  test('while others work, and the server stops as ever', async () => {
    const { api, run } = server;
    expect(await api.ask(healthy, 'go on')).toMatchObject({ outcome: 'completed' });
    const { session } = await api.createSession();
    expect(await api.ask(session, 'hello')).toMatchObject({ outcome: 'completed' });
    expect(await run.kill('SIGTERM')).toMatchObject({ code: 0 });
    for (const { session: one, bytes } of damaged) {
      const kept = await readFile(path.join(damagedPlace.sessionDir(one), 'events.jsonl'));
      expect(kept.equals(bytes)).toBe(true);
    }
  });

  test('one of a newer version is refused and stays as it is; the rest works', async () => {
    const session = forgedId(1);
    const newer = forge(session).bytes.toString().replace('"duragent_log":1', '"duragent_log":2');
    const folder = await plantLog(workspace.dataDir, session, newer);
    const { api } = await workspace.serve();
    const refusal = await api.refused('GET', `/api/v1/sessions/${session}/messages`);
    expect(refusal).toMatchObject({ status: 409, code: 'log_newer' });
    expect(await readFile(path.join(folder, 'events.jsonl'), 'utf8')).toBe(newer);
    expect((await api.createSession()).status).toBe('running');
  });
});

test('events of types that are not known are kept and passed through', async () => {
  const session = forgedId(1);
  const events = forgedConversation(session, texts);
  events.splice(2, 0, { type: 'from_the_future', wonder: { of: ['things'] } });
  await plantLog(workspace.dataDir, session, `${forgeLines(session, events).join('\n')}\n`);
  const { api } = await workspace.serve();
  expect(await api.ask(session, 'go on')).toMatchObject({ outcome: 'completed' });
  const reader = await api.events(session);
  await reader.untilCaughtUp();
  expect(reader.of('from_the_future')).toMatchObject([{ seq: 3, wonder: { of: ['things'] } }]);
  reader.close();
});

test('whatever became of snapshots, OPEN and index, no session is hidden and nothing is lost', async () => {
  const names = ['missing', 'corrupt', 'empty', 'foreign', 'stale', 'unknown', 'untouched'];
  const first = await workspace.serve();
  const made = new Map<string, string>();
  for (const key of names) {
    const { session } = await first.api.createSession({ key });
    await first.api.ask(session, `${key} one`);
    made.set(key, session);
  }
  const snapshot = (key: string): string =>
    path.join(workspace.sessionDir(made.get(key) ?? ''), 'state.yaml');
  expect(await first.run.kill('SIGTERM')).toMatchObject({ code: 0 });
  const stale = await readFile(snapshot('stale'), 'utf8');

  const second = await workspace.serve();
  for (const [key, session] of made) await second.api.ask(session, `${key} two`);
  expect(await second.run.kill('SIGTERM')).toMatchObject({ code: 0 });

  const untouched = await readFile(snapshot('untouched'), 'utf8');
  await rm(snapshot('missing'));
  await writeFile(snapshot('corrupt'), '{"duragent_snapshot": 1, "seq": ');
  await writeFile(snapshot('empty'), '');
  await writeFile(snapshot('foreign'), untouched);
  await writeFile(snapshot('stale'), stale);
  await writeFile(
    snapshot('unknown'),
    untouched.replace('"duragent_snapshot": 1', '"duragent_snapshot": 9'),
  );
  await rm(path.join(workspace.dataDir, 'sessions', 'OPEN'));
  await writeFile(path.join(workspace.dataDir, 'sessions', 'index.jsonl'), 'garbage\n{"a":\n');

  const { api } = await workspace.serve();
  const { body } = await api.get<{ sessions: SessionView[] }>('/sessions');
  expect(body.sessions.map((one) => one.session).sort()).toEqual([...made.values()].sort());
  for (const [key, session] of made) {
    expect(body.sessions.find((one) => one.session === session)).toMatchObject({ key, turns: 2 });
    expect(await messagesOf(api, session)).toEqual([`${key} one`, `${key} two`]);
    const taken = await api.refused('POST', '/api/v1/sessions', { body: { key } });
    expect(taken).toMatchObject({ code: 'conflict', session });
    expect(await api.ask(session, `${key} three`)).toMatchObject({ outcome: 'completed' });
    const { events } = await readLog(workspace.sessionDir(session));
    expect(settledFaults(events)).toEqual([]);
    expect(eventsOf(events, 'assistant_message')).toHaveLength(3);
  }
});

test('a log that ends before its snapshot has lost durable records: quarantined, and told', async () => {
  const { api, run } = await workspace.serve();
  const { session } = await api.createSession();
  await api.ask(session, 'hello');
  expect(await run.kill('SIGTERM')).toMatchObject({ code: 0 });
  const file = path.join(workspace.sessionDir(session), 'events.jsonl');
  const whole = await readFile(file);
  const lines = whole.toString().split('\n');
  await writeFile(file, `${lines.slice(0, 3).join('\n')}\n`);
  const next = await workspace.serve();
  const view = await next.api.session(session);
  expect(view.status).toBe('quarantined');
  expect(view.quarantine?.reason).toContain('snapshot');
});
