import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  alive,
  Bedlam,
  canMeasure,
  goodChat,
  goodSender,
  memoryOf,
  SteadyLoad,
  Watch,
} from '../support/bad-gateways.ts';
import { until } from '../support/until.ts';

/** Lines of a flood; the whole number is 1000000: `DURAGENT_FLOOD=1000000 npx vitest run test/faults/bad-gateways`. */
const FLOOD = Number(process.env['DURAGENT_FLOOD'] ?? 100_000);
/** How long a line is that is too long; the whole one has 700: `DURAGENT_LINE_MB=700`. */
const LINE_MB = Number(process.env['DURAGENT_LINE_MB'] ?? 200);
/**
 * What the resident memory of a server may rise by, in MiB: from the most that it had at usual work
 * to the most that it had beside bad gateways. Both are peaks, with the garbage of the moment and
 * what V8 and malloc keep for the next one, so what is between them is what is held. A flood of
 * 1000000 takes 7 for the keys that are to be remembered; a line or a flood that was kept would
 * take hundreds.
 */
const MOST_GROWTH = 32;
/** What many sessions at work may take beside, in MiB: for them speed goes before memory. */
const FOR_SPEED = 8;
/** What a flood may leave for good, in MiB: with 8 of garbage, for which nothing is collected. */
const MOST_LEFT = 24;
const MINUTES = 60_000 * (FLOOD > 100_000 ? 30 : 4);

describe.skipIf(!canMeasure)('beside bad gateways a server serves the good one', () => {
  let bedlam: Bedlam;
  let load: SteadyLoad;
  /** The most that the server has when it has long been at work, in MiB. */
  let usual: number;
  let watch: Watch;
  beforeAll(async () => {
    bedlam = await Bedlam.create();
    await bedlam.start();
    load = new SteadyLoad(await bedlam.goodUrl());
    const warmingUp = new Watch(bedlam);
    try {
      // So large that the inbox is written anew meanwhile.
      const settings = { kind: 'conversations', count: 2000, padding: 6000 };
      await bedlam.admit({ name: 'warm', behaviour: 'flood', settings });
      await bedlam.untilSaid('warm', 2001);
      const strangers = { kind: 'messages', count: 20_000 };
      await bedlam.admit({ name: 'warmer', behaviour: 'flood', settings: strangers });
      await bedlam.untilSaid('warmer', 401);
      await bedlam.admit();
    } finally {
      await warmingUp.end();
    }
    usual = warmingUp.peak;
  }, MINUTES);
  beforeEach(() => {
    watch = new Watch(bedlam);
  });
  afterEach(async () => {
    try {
      await bedlam.admit();
      // Also now that they are gone.
      await load.untilAnswered(10);
    } finally {
      await watch.end();
    }
    expect(watch.faults).toEqual([]);
    expect(load.faults).toEqual([]);
    expect(watch.peak - usual).toBeLessThan(MOST_GROWTH);
  }, MINUTES);
  afterAll(async () => {
    await load.end();
    await bedlam.close();
  }, MINUTES);

  /** Each of these is named in the server's log, and that once. */
  async function expectNamed(all: readonly (readonly [name: string, words: RegExp])[]) {
    for (const [name, words] of all) {
      await until(`${name} is named`, async () => (await bedlam.timesNamed(name, words)) > 0);
      expect([name, words, await bedlam.timesNamed(name, words)]).toEqual([name, words, 1]);
      expect((await bedlam.warnings(name)).length).toBeLessThan(5);
    }
  }

  test('that say nothing of use', { timeout: MINUTES }, async () => {
    const talkers = ['long-line', 'deep', 'not-utf8', 'nul', 'plain-text', 'proto'];
    await bedlam.admit(
      ...['never-ready', 'v2', ...talkers].map((name) => ({
        name,
        settings: { megabytes: LINE_MB },
      })),
      { name: 'half-line', restart: 'never' },
    );
    await load.untilAnswered(10);
    await bedlam.untilIn(['fatal'], 'v2', /speaks protocol "v2" and this server v1/);
    await bedlam.untilIn(['stopped'], 'half-line', /ended with exit code 3/);
    expect(await bedlam.untilSaid('half-line', 1)).toEqual(['hello 1']);
    for (const name of talkers) {
      // What comes before and after it counts, once.
      const texts = await bedlam.untilSaid(name, name === 'proto' ? 3 : 2);
      expect(texts.toSorted()).toEqual(
        ['hello 1', 'hello 2', ...(name === 'proto' ? ['polluted'] : [])].toSorted(),
      );
      expect(await bedlam.view(name)).toMatchObject({ state: 'ready', reason: null, restarts: 0 });
      // Two that meet in one turn are answered together: with the last that was said in the chat.
      const last = name === 'proto' ? ['hello 2', 'polluted'] : ['hello 2'];
      await until(`${name} gets its answers`, async () => {
        const posted = await bedlam.posted(name);
        return last.every((text) => posted.some(({ content }) => content.includes(text)));
      });
    }
    await bedlam.untilIn(
      ['backoff', 'starting'],
      'never-ready',
      /did not say "ready" within 10000/,
    );
    await expectNamed([
      ['never-ready', /did not say "ready"/],
      ['v2', /gateway is fatal .* speaks protocol "v2"/],
      ['half-line', /ended with exit code 3/],
      ['half-line', /a line is no JSON: \{"type":"message_received"/],
      ['long-line', new RegExp(`a line of ${LINE_MB * 1024 * 1024} bytes is longer`)],
      ['deep', /nested too deeply/],
      ['not-utf8', /a line is no JSON/],
      ['nul', /a line is no JSON/],
      ['proto', /the type "__proto__" is not known/],
    ]);
    expect(await bedlam.logOf('plain-text')).toEqual([
      'Welcome to \uFFFD[31mmy gateway\uFFFD[0m!',
      '(node:1) Warning: old',
    ]);
    expect((await bedlam.logOf('nul'))[0]).toBe('\uFFFD\uFFFD\uFFFD');
  });

  test('that flood it', { timeout: MINUTES }, async () => {
    const kinds = ['pong', 'preview_posted', 'inbound_gap', 'error', 'unknown', 'text'];
    const answered = load.answered;
    await bedlam.admit(
      { name: 'messages', behaviour: 'flood', settings: { kind: 'messages', count: FLOOD / 2 } },
      ...kinds.map((kind) => ({
        name: kind.replace('_', '-'),
        behaviour: 'flood',
        settings: { kind, count: Math.ceil(FLOOD / 2 / kinds.length) },
      })),
      { name: 'invalid', behaviour: 'flood', settings: { kind: 'invalid', count: 1000 } },
    );
    await bedlam.untilIn(
      ['backoff', 'starting', 'degraded'],
      'invalid',
      /more than 20 lines .* no valid events/,
    );
    for (const kind of kinds) {
      const name = kind.replace('_', '-');
      // What comes behind the flood is taken when all of the flood was.
      await bedlam.untilSaid(name, 1, MINUTES);
      expect(await bedlam.view(name)).toMatchObject({ state: 'ready', restarts: 0 });
    }
    const texts = await bedlam.untilSaid('messages', FLOOD / 100 + 1, MINUTES);
    expect(new Set(texts).size).toBe(texts.length);
    expect(texts).toHaveLength(FLOOD / 100 + 1);
    // In so much work the good gateway had its share.
    expect(load.answered - answered).toBeGreaterThan(FLOOD / 5000);
    expect(await bedlam.view('pong')).toMatchObject({ dropped: 0 });
    expect((await bedlam.view('pong')).unknown).toBeGreaterThanOrEqual(FLOOD / 2 / kinds.length);
    expect((await bedlam.logOf('text')).length).toBeLessThanOrEqual(500);
    await expectNamed([
      ['pong', /the request "ping-\d+" is not open/],
      ['unknown', /the type "from_the_future_\d+" is not known/],
    ]);
    for (const name of ['messages', 'invalid', ...kinds.map((kind) => kind.replace('_', '-'))]) {
      // Some of what it tells of itself is shown, some is dropped, but not thousands.
      expect((await bedlam.warnings(name)).length).toBeLessThan(60);
    }
  });

  test('that end, hang or do not listen', { timeout: MINUTES }, async () => {
    const crashes = ['crashes-at-start', 'crashes-when-ready', 'crashes-later'];
    const names = ['writes-and-exits', 'stops-reading', 'closes-stdin', ...crashes];
    await bedlam.admit(...[...names, 'ignores-sigterm'].map((name) => ({ name })));
    const { pid: stubborn } = await bedlam.untilIn(['ready'], 'ignores-sigterm', /^$/);
    // Why it ended is said until it is ready again.
    const down = ['backoff', 'starting', 'degraded'];
    await bedlam.untilIn(down, 'stops-reading', /does not read its stdin/);
    await bedlam.untilIn(down, 'closes-stdin', /closed its stdin/);
    await bedlam.untilIn(down, 'crashes-at-start', /ended with exit code 5 before it was ready/);
    await bedlam.untilIn(down, 'crashes-when-ready', /exit code 1/);
    await bedlam.untilIn(down, 'crashes-later', /ended with exit code 6/);
    for (const name of names) {
      await until(`${name} is started again`, async () => {
        return (await bedlam.view(name)).restarts > 0;
      });
    }
    // All complete lines count, once, however often they come.
    const texts = await bedlam.untilSaid('writes-and-exits', 230);
    expect(texts.toSorted()).toEqual(Array.from({ length: 230 }, (_, n) => `m${n}`).toSorted());
    for (const name of ['closes-stdin', 'crashes-when-ready', 'crashes-later']) {
      expect(await bedlam.untilSaid(name, 1)).toEqual(['hello 1']);
    }
    for (const name of names) {
      const { restarts } = await bedlam.view(name);
      expect((await bedlam.warnings(name)).length).toBeLessThanOrEqual(restarts + 2);
    }
    expect(await bedlam.timesNamed('stops-reading', /does not read its stdin/)).toBeGreaterThan(0);
    // Told to go, one that does not is killed, and what it started.
    const all = bedlam.processes();
    expect(all.map(({ pid }) => pid)).toContain(stubborn);
    await bedlam.admit();
    // The good one stays, and what ends gateways when the server dies.
    await until('they are gone', () => alive(all).length === 2);
    expect(alive(all).map(({ pid }) => pid)).toContain((await bedlam.view('good')).pid);
  });

  test('that answer wrongly, or for others', { timeout: MINUTES }, async () => {
    const { api } = bedlam.server;
    const names = ['answers-twice', 'answers-never', 'answers-others', 'redelivers'];
    await bedlam.admit(...names.map((name) => ({ name })), {
      name: 'impostor',
      settings: { chat: goodChat, sender: goodSender },
    });
    await bedlam.untilSaid('redelivers', 200);
    await until('it has come again', async () => (await bedlam.view('redelivers')).restarts > 0);
    await load.untilAnswered(10);
    const bySession = await bedlam.said('redelivers');
    const numbers = [...bySession.values()].map((texts) => texts.map((text) => +text.slice(1)));
    expect(numbers.flat().toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, n) => n),
    );
    // Of each chat in the order in which they came first, which was from the last to the first.
    for (const each of numbers) expect(each).toEqual(each.toSorted((a, b) => b - a));

    const impostor = await until('the impostor is answered', async () => {
      const posted = await bedlam.posted('impostor');
      // How many answers its messages get depends on how they meet: one holds what is looked for.
      return posted.length > 0 && posted;
    });
    expect((impostor || []).filter(({ content }) => content.includes('says'))).toEqual([]);
    const theirs = await api.get<{ session: string }>('/chats/impostor/mine');
    const ours = await api.get<{ session: string }>(`/chats/good/${goodChat}`);
    expect([theirs.status, ours.status]).toEqual([200, 200]);
    expect(theirs.body.session).not.toBe(ours.body.session);
    const said = (await bedlam.said('good')).get(ours.body.session) ?? [];
    expect(said.filter((text) => !text.startsWith(`${goodSender} says `))).toEqual([]);

    for (const name of ['answers-twice', 'answers-others']) {
      await until(
        `${name} has answered`,
        async () => (await bedlam.posted(name)).length > 0 || (await bedlam.view(name)).unknown > 0,
      );
      expect(await bedlam.untilSaid(name, 1)).toEqual(['hello 1']);
    }
    await expectNamed([
      ['answers-twice', /the request "r\d+" is not open, or was answered before/],
      ['answers-others', /the request "r\d+" is not open, or was answered before/],
    ]);
    const ends = await bedlam.deliveryEnds();
    expect(ends.get('answers-twice')).toEqual(['delivered the first']);
    expect(ends.get('answers-others') ?? []).toEqual([]);
    expect(ends.get('answers-never') ?? []).toEqual([]);
    expect(new Set(ends.get('good')?.map((end) => end.split(' ')[0]))).toEqual(
      new Set(['delivered']),
    );
    expect([...ends.values()].flat().filter((end) => end.includes('stolen'))).toEqual([]);
  });
});

/**
 * What a server has before it has done anything, and beside one flood. What is between them holds
 * what every first work costs, such as compiled code. Of the last five each line is shown or written
 * to the disk.
 */
test.skipIf(!canMeasure).each<[kind: string, count: number, said?: number]>([
  ['text', FLOOD],
  ['unknown', FLOOD],
  ['pong', FLOOD],
  ['preview_posted', FLOOD],
  ['inbound_gap', FLOOD / 10],
  ['error', FLOOD / 10],
  ['presses', FLOOD],
  ['migrations', FLOOD],
  // One in 50 is answered.
  ['messages', FLOOD, FLOOD / 50 + 1],
])(
  'a flood of %s leaves a new server small',
  { timeout: MINUTES },
  async (kind, count, said = 1) => {
    const bedlam = await Bedlam.create();
    try {
      await bedlam.start();
      const { pid } = bedlam.server.run;
      const before = memoryOf(pid);
      const watch = new Watch(bedlam);
      await bedlam.admit({ name: 'flood', settings: { kind, count } });
      await bedlam.untilSaid('flood', said, MINUTES);
      await watch.end();
      expect(watch.faults).toEqual([]);
      const most = kind === 'messages' ? MOST_GROWTH + FOR_SPEED : MOST_GROWTH;
      expect(watch.peak - before).toBeLessThan(most);
      await until(
        'the memory is given back',
        () => {
          const left = memoryOf(pid) - before;
          if (left > MOST_LEFT) throw new Error(`${left} MiB are left`);
          return true;
        },
        20_000,
      );
    } finally {
      await bedlam.close();
    }
  },
);

test.skipIf(!canMeasure).each(['SIGTERM', 'SIGKILL'] as const)(
  'no process is left of bad gateways after a server was ended by %s',
  { timeout: 60_000 },
  async (signal) => {
    const bedlam = await Bedlam.create();
    try {
      const names = [
        'never-ready',
        'answers-never',
        'ignores-sigterm',
        'crashes-later',
        'stops-reading',
      ];
      await bedlam.start([
        ...names.map((name) => ({ name })),
        { name: 'flood', settings: { kind: 'conversations', count: 1_000_000 } },
      ]);
      await bedlam.untilSaid('flood', 500);
      await bedlam.untilIn(['ready'], 'ignores-sigterm', /^$/);
      const processes = bedlam.processes();
      expect(processes.length).toBeGreaterThan(names.length);
      const end = await bedlam.server.run.kill(signal);
      expect(end).toMatchObject(signal === 'SIGTERM' ? { code: 0 } : { signal });
      await until('none is left', () => alive(processes).length === 0);
    } finally {
      await bedlam.close();
    }
  },
);
