import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { scheduleRules } from '../../core/schedule/rules.ts';
import {
  finishedRun,
  instantOf,
  SCHEDULE,
  scheduleStoreContract,
  startedRun,
  testSchedule,
} from '../../ports/schedule-store.contract.ts';
import type { ScheduleStore } from '../../ports/schedule-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { openFileScheduleStore } from './filesystem.ts';

const temporary = (): Promise<string> => mkdtemp(path.join(os.tmpdir(), 'duragent-schedules-'));

scheduleStoreContract('schedules in files', async () => {
  const root = await temporary();
  return {
    open: () =>
      openFileScheduleStore({ directory: path.join(root, 'schedules'), rules: scheduleRules }),
    dispose: () => rm(root, { recursive: true }),
  };
});

let root: string;
let directory: string;
let files: FaultyFiles;
let store: ScheduleStore;
beforeEach(async () => {
  root = await temporary();
  directory = path.join(root, 'schedules');
  await restart();
});
afterEach(async () => {
  await files.closeAll();
  await rm(root, { recursive: true });
});

/** As a new process: the one before does nothing any more. */
async function restart(): Promise<void> {
  await files?.closeAll();
  files = new FaultyFiles();
  store = await openFileScheduleStore({ directory, rules: scheduleRules, files });
}
const at = (name: string): string => path.join(directory, name);
const RUNS = `${SCHEDULE}.runs.jsonl`;

const WRITTEN = `# Ours.
agent: assistant
spec: { cron: 0 7 * * 1-5, zone: Europe/Berlin }   # on work days
payload:
  kind: task
  text: |
    Say good morning.
`;

describe('a file that a person writes', () => {
  test('is a schedule by its name, with defaults', async () => {
    await writeFile(at('morning.yaml'), WRITTEN);
    const { schedules, faults } = await store.list();
    expect(faults).toEqual([]);
    const facts = await stat(at('morning.yaml'));
    expect(schedules).toEqual([
      {
        schedule: {
          id: 'morning',
          agent: 'assistant',
          spec: { cron: '0 7 * * 1-5', zone: 'Europe/Berlin' },
          payload: { kind: 'task', text: 'Say good morning.\n' },
          target: 'isolated',
          misfire: 'run_once',
          paused: false,
        },
        changedAt: facts.mtimeMs,
      },
    ]);
  });

  test('is read anew when it was edited, and gone when it was removed', async () => {
    await store.create(testSchedule(SCHEDULE));
    const file = at(`${SCHEDULE}.yaml`);
    await writeFile(file, (await readFile(file, 'utf8')).replace('0 7 * * *', '0 8 * * *'));
    expect((await store.list()).schedules[0]?.schedule.spec).toMatchObject({ cron: '0 8 * * *' });
    await rm(file);
    expect(await store.list()).toEqual({ schedules: [], faults: [] });
  });

  test.each([
    [
      'text: 5',
      'kind: task\n  text: |\n    Say good morning.',
      'kind: task\n  text: 5',
      '6:9: payload.text: expected text; write it in quotes',
    ],
    ['an unknown key', 'agent:', 'agnet: x\nagent:', '2:1: unknown key "agnet"; remove it'],
    ['no agent', 'agent: assistant\n', '', '2:1: agent is missing'],
    ['no zone', ', zone: Europe/Berlin', '', '3:7: spec.zone is missing'],
    ['a bad zone', 'Europe/Berlin', 'Europe/Bonn', '3:34: expected an IANA time zone'],
    ['seconds', '0 7 * * 1-5', '"0 0 7 * * 1-5"', '3:15: expected five fields'],
    ['a bad kind', 'kind: task', 'kind: job', '5:9: payload.kind: '],
    [
      'a short every',
      'cron: 0 7 * * 1-5, zone: Europe/Berlin',
      'every: 5s',
      '3:16: every has to be from 10s',
    ],
    [
      'a bad every',
      'cron: 0 7 * * 1-5, zone: Europe/Berlin',
      'every: often',
      '3:16: spec.every: expected a duration',
    ],
    [
      'a local at',
      'cron: 0 7 * * 1-5, zone: Europe/Berlin',
      'at: 2026-03-01T07:00',
      '3:13: spec.at: expected an ISO 8601 instant',
    ],
    [
      'two rules',
      'cron: 0 7 * * 1-5, zone: Europe/Berlin',
      'at: "2030-03-01T07:00:00Z", every: 1h',
      '3:7: spec: expected exactly one of at, every, cron',
    ],
    ['no cron', 'cron: 0 7 * * 1-5', 'cron: ""', '3:15: spec.cron: '],
    ['an alias', 'agent: assistant', 'agent: &a assistant\nname: *a', '3:7: write the value out'],
    ['a key twice', 'agent: assistant', 'agent: a\nagent: b', '3:1: '],
    ['two documents', '# Ours.', '# Ours.\na: 1\n---', '3:1: a second document'],
    ['depth', 'assistant', '['.repeat(50_000), '2:15: nested more than 8'],
    ['broken YAML', 'agent: assistant', 'agent: [', ''],
    ['nothing', WRITTEN, '', '1:1: '],
    ['a list', WRITTEN, '- a', '1:1: the file: expected a map of keys'],
  ])('with %s is a fault with its place, and hides no other', async (_, before, after, place) => {
    await writeFile(at('good.yaml'), WRITTEN);
    await writeFile(at('morning.yaml'), WRITTEN.replace(before, after));
    const { schedules, faults } = await store.list();
    expect(schedules.map(({ schedule }) => schedule.id)).toEqual(['good']);
    expect(faults).toHaveLength(1);
    const { column, file, id, line, message } = faults[0] ?? {};
    expect({ id, file }).toEqual({ id: 'morning', file: at('morning.yaml') });
    expect(`${String(line)}:${String(column)}: ${String(message)}`).toContain(place);
    await writeFile(at('morning.yaml'), WRITTEN);
    expect(await store.list()).toMatchObject({ schedules: [{}, {}], faults: [] });
  });

  test.each(['Morning.yaml', 'morning.yml', 'a b.yaml', 'sched_1.yaml', `${'x'.repeat(64)}.yaml`])(
    'named %s is a fault',
    async (name) => {
      await writeFile(at(name), WRITTEN);
      expect(await store.list()).toMatchObject({
        schedules: [],
        faults: [{ message: expect.stringContaining('rename') }],
      });
    },
  );

  test('may not be a link, a folder, too large or binary', async () => {
    await writeFile(path.join(root, 'elsewhere'), WRITTEN);
    await symlink(path.join(root, 'elsewhere'), at('a.yaml'));
    await mkdir(at('b.yaml'));
    await writeFile(at('c.yaml'), '#'.repeat(300 * 1024));
    await writeFile(at('d.yaml'), Buffer.from([0xff, 0xfe]));
    await writeFile(at('.e.yaml.swp'), 'x');
    const { schedules, faults } = await store.list();
    expect(schedules).toEqual([]);
    expect(faults.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('counts up to a thousand of them', async () => {
    const names = Array.from({ length: 1003 }, (_, i) => `s${String(i).padStart(4, '0')}`);
    await Promise.all(names.map((name) => writeFile(at(`${name}.yaml`), WRITTEN)));
    const { schedules, faults } = await store.list();
    expect(schedules).toHaveLength(1000);
    expect(faults.map(({ id }) => id)).toEqual(['s1000', 's1001', 's1002']);
    await rm(at('s0000.yaml'));
    expect((await store.list()).faults).toHaveLength(2);
  });
});

describe('a run log', () => {
  test('is durable before the append resolves', async () => {
    await store.append(SCHEDULE, startedRun(1));
    expect(files.count('sync', `${RUNS}.tmp`)).toBe(1);
    files.calls.length = 0;
    await store.append(SCHEDULE, finishedRun(1));
    const calls = files.calls.map(({ name, file }) => `${name} ${file}`);
    expect(calls).toEqual([`open ${RUNS}`, `write ${RUNS}`, `datasync ${RUNS}`]);
    expect(files.opened.size).toBe(0);
    expect((await stat(at(RUNS))).mode & 0o777).toBe(0o600);
  });

  test('cut anywhere in its last record says what it said before that', async () => {
    for (const n of [1, 2, 3]) await store.append(SCHEDULE, startedRun(n));
    const whole = await readFile(at(RUNS));
    const last = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (let length = last; length < whole.length; length += 1) {
      await writeFile(at(RUNS), whole.subarray(0, length));
      await restart();
      expect(await store.records(SCHEDULE, 9)).toEqual([startedRun(1), startedRun(2)]);
      await store.append(SCHEDULE, finishedRun(2));
      await restart();
      expect(await store.records(SCHEDULE, 9)).toEqual([
        startedRun(1),
        startedRun(2),
        finishedRun(2),
      ]);
    }
    expect((await readdir(directory)).some((name) => name.includes('.torn-'))).toBe(true);
  });

  test('that is damaged before its end is refused, named, and left as it is', async () => {
    for (const n of [1, 2, 3]) await store.append(SCHEDULE, startedRun(n));
    const whole = await readFile(at(RUNS));
    const second = whole.indexOf('started', whole.indexOf('started') + 1);
    for (const offset of [3, second]) {
      const damaged = Buffer.from(whole);
      damaged[offset] = 0x58;
      await writeFile(at(RUNS), damaged);
      await restart();
      const refusal = { code: 'log_corrupt', details: { file: at(RUNS) } };
      await expect(store.runLog(SCHEDULE)).rejects.toMatchObject(refusal);
      await expect(store.append(SCHEDULE, startedRun(4))).rejects.toMatchObject(refusal);
      expect(await readFile(at(RUNS))).toEqual(damaged);
    }
    await writeFile(at(RUNS), whole);
    expect((await store.runLog(SCHEDULE)).open).toHaveLength(3);
  });

  test('of a newer version is refused', async () => {
    await writeFile(at(RUNS), '{"duragent_runs":2,"x":1}\n');
    await expect(store.runLog(SCHEDULE)).rejects.toMatchObject({ code: 'log_newer' });
  });

  test('of another schedule, or a link, is refused', async () => {
    await store.append('other', startedRun(1));
    await writeFile(at(RUNS), await readFile(at('other.runs.jsonl')));
    await expect(store.runLog(SCHEDULE)).rejects.toMatchObject({ code: 'log_corrupt' });
    await symlink(at('other.runs.jsonl'), at('third.runs.jsonl'));
    await expect(store.runLog('third')).rejects.toMatchObject({ code: 'log_corrupt' });
  });

  test.each(['write', 'datasync', 'short'] as const)(
    'whose %s failed goes on from what is there, in a file that is known',
    async (what) => {
      await store.append(SCHEDULE, startedRun(1));
      files.fault = ({ file, name }) => {
        if (file !== RUNS) return undefined;
        if (what === 'short' && name === 'write') return { short: 0 };
        if (what === 'short' && name === 'truncate') return systemError('EIO');
        return name === what ? systemError(what === 'write' ? 'ENOSPC' : 'EIO') : undefined;
      };
      const code = what === 'write' ? 'storage_full' : 'storage_failed';
      await expect(store.append(SCHEDULE, finishedRun(1))).rejects.toMatchObject({ code });
      files.fault = () => undefined;
      files.calls.length = 0;
      await store.append(SCHEDULE, startedRun(2));
      expect(files.count('sync', `${RUNS}.tmp`)).toBe(1);
      await restart();
      expect(await store.records(SCHEDULE, 9)).toEqual([startedRun(1), startedRun(2)]);
    },
  );

  test('is the old or the new one, whichever call of writing it anew fails', async () => {
    for (let n = 1; n <= 2000; n += 1) await store.append(SCHEDULE, startedRun(n));
    const before = await readFile(at(RUNS));
    for (let nth = 0; ; nth += 1) {
      await writeFile(at(RUNS), before);
      await restart();
      await store.runLog(SCHEDULE);
      let calls = 0;
      files.fault = () => {
        calls += 1;
        return calls === nth + 1 ? systemError('EIO') : undefined;
      };
      const result = await store
        .append(SCHEDULE, startedRun(2001))
        .catch((error: unknown) => error);
      files.fault = () => undefined;
      const isDone = !(result instanceof Error);
      await restart();
      const { settled } = await store.runLog(SCHEDULE);
      const expected = [instantOf(2001), ...(isDone ? [] : [instantOf(2000)])].map(Date.parse);
      expect(expected).toContain(settled);
      if (isDone) {
        expect((await store.records(SCHEDULE, 5000)).length).toBe(1001);
        break;
      }
      expect(nth).toBeLessThan(30);
    }
  });

  test('outlives its schedule for a week, and no longer', async () => {
    await store.append(SCHEDULE, startedRun(1));
    await restart();
    expect((await store.runLog(SCHEDULE)).open).toHaveLength(1);
    const old = new Date(Date.now() - 8 * 86_400_000);
    await utimes(at(RUNS), old, old);
    await store.create(testSchedule(SCHEDULE));
    await restart();
    expect((await store.runLog(SCHEDULE)).open).toHaveLength(1);
    await rm(at(`${SCHEDULE}.yaml`));
    await restart();
    expect(await readdir(directory)).toEqual([]);
  });

  test('that was emptied is no empty one', async () => {
    await store.append(SCHEDULE, startedRun(1));
    await truncate(at(RUNS), 0);
    await restart();
    await expect(store.runLog(SCHEDULE)).rejects.toMatchObject({ code: 'log_corrupt' });
  });
});

describe('making and removing', () => {
  test('leaves nothing behind whichever call fails', async () => {
    for (let nth = 0; ; nth += 1) {
      let calls = 0;
      files.fault = () => {
        calls += 1;
        return calls === nth + 1 ? systemError('ENOSPC') : undefined;
      };
      const result = await store.create(testSchedule(SCHEDULE)).catch((error: unknown) => error);
      files.fault = () => undefined;
      if (!(result instanceof Error)) break;
      expect(result).toMatchObject({ code: 'storage_full' });
      expect(await readdir(directory)).toEqual([]);
      expect(nth).toBeLessThan(30);
    }
    expect(await readdir(directory)).toEqual([`${SCHEDULE}.yaml`]);
  });

  test('takes no id that is a path', async () => {
    for (const id of ['../x', 'a/b', '', 'A', 'sched_x']) {
      await expect(store.create(testSchedule(id))).rejects.toMatchObject({ code: 'internal' });
      await expect(store.remove(id)).rejects.toMatchObject({ code: 'internal' });
      await expect(store.append(id, startedRun(1))).rejects.toMatchObject({ code: 'internal' });
    }
  });
});
