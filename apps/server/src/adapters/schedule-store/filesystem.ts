import path from 'node:path';
import {
  DuragentError,
  scheduleIdSchema,
  type Schedule,
  type ScheduleFault,
} from '@duragent/protocol';
import type {
  RunLogState,
  ScheduleRules,
  ScheduleStore,
  StoredSchedule,
} from '../../ports/schedule-store.ts';
import { factsOf, stampOf, textOf } from '../files/edited-file.ts';
import {
  afterFailure,
  attempt,
  DIRECTORY_MODE,
  errorCode,
  flags,
  nodeFiles,
  readBytes,
  replaceFile,
  syncDirectory,
  withFile,
  type Files,
} from '../files/files.ts';
import { Turns } from '../files/turns.ts';
import { RunLogFile } from './run-log-file.ts';
import { formatSchedule, parseSchedule } from './schedule-yaml.ts';

export interface FileScheduleStoreOptions {
  /** `<data_dir>/schedules`; made if there is none. */
  directory: string;
  rules: ScheduleRules;
  /** For tests: the file system. */
  files?: Files;
}

const SCHEDULE = '.yaml';
const RUNS = '.runs.jsonl';
const MAX_BYTES = 256 * 1024;
/** The most files that are read; what is beyond them is a fault. */
const MOST_SCHEDULES = 1000;
/** How long the run log of a schedule whose file is gone is kept: it may come back. */
const ORPHANS_KEPT_MS = 7 * 86_400_000;

type Entry = { stamp: string; stored: StoredSchedule } | { stamp: string; fault: ScheduleFault };

/** Opens the folder of schedules: `<id>.yaml`, which people may edit, and `<id>.runs.jsonl`. */
export async function openFileScheduleStore(
  options: FileScheduleStoreOptions,
): Promise<ScheduleStore> {
  const { directory, files = nodeFiles, rules } = options;
  const fileOf = (id: string): string => path.join(directory, `${id}${SCHEDULE}`);
  const runsOf = (id: string): string => path.join(directory, `${id}${RUNS}`);
  let entries = new Map<string, Entry>();
  const logs = new Map<string, RunLogFile>();
  /** Of what concerns one schedule, by its id. */
  const turns = new Turns();

  await attempt(`Cannot open ${directory}`, async () => {
    await files.mkdir(directory, { mode: DIRECTORY_MODE, recursive: true });
    await sweep();
  });

  /** Removes run logs whose schedule has been gone for long. */
  async function sweep(): Promise<void> {
    const names = new Set((await files.readdir(directory, { withFileTypes: true })).map(nameOf));
    for (const name of names) {
      if (!name.endsWith(RUNS) || names.has(name.replace(RUNS, SCHEDULE))) continue;
      const file = path.join(directory, name);
      const facts = await factsOf(files, file);
      if (facts && Date.now() - facts.mtimeMs > ORPHANS_KEPT_MS) {
        await files.rm(file, { force: true });
      }
    }
  }

  async function look(name: string, isBeyond: boolean): Promise<Entry | null> {
    const id = name.replace(/\.ya?ml$/, '');
    const file = path.join(directory, name);
    const facts = await factsOf(files, file);
    if (facts === null) return null;
    const stamp = `${stampOf(facts)}:${isBeyond}`;
    const before = entries.get(name);
    if (before?.stamp === stamp) return before;
    const fault = (message: string, line = 1, column = 1): Entry => ({
      stamp,
      fault: { id: id.slice(0, 100), file, line, column, message },
    });
    if (!scheduleIdSchema.safeParse(id).success || !name.endsWith(SCHEDULE)) {
      return fault('rename it to <name>.yaml; a name is 1 to 63 of a-z, 0-9 and "-"');
    }
    if (!facts.isFile()) return fault('this is no plain file; put the file itself here');
    if (isBeyond) return fault(`there are more than ${MOST_SCHEDULES} schedules; remove some`);
    if (facts.size > MAX_BYTES) return fault('the file is larger than 256 KiB');
    const text = await readText(file, facts.size);
    if (text === null) return fault('the file is not UTF-8 text; save it as UTF-8');
    const read = parseSchedule(id, text, rules.check);
    if ('flaw' in read) return fault(read.flaw.message, read.flaw.line, read.flaw.column);
    return { stamp, stored: { schedule: read.schedule, changedAt: facts.mtimeMs } };
  }

  async function readText(file: string, size: number): Promise<string | null> {
    return withFile(files, file, flags.readAny, async (handle) =>
      textOf(await readBytes(handle, 0, size)),
    );
  }

  /** What is there now; a file that goes while it is looked at is not. */
  async function lookAtAll(): Promise<Map<string, Entry>> {
    const names = (await files.readdir(directory, { withFileTypes: true }))
      .map(nameOf)
      .filter((name) => /^[^.].*\.ya?ml$/s.test(name))
      .sort();
    const found = await Promise.all(
      names.map(async (name, index) => {
        try {
          return [name, await look(name, index >= MOST_SCHEDULES)] as const;
        } catch (error) {
          if (errorCode(error) === 'ENOENT') return [name, null] as const;
          throw error;
        }
      }),
    );
    entries = new Map(found.flatMap(([name, entry]) => (entry ? [[name, entry]] : [])));
    return entries;
  }

  function inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (!scheduleIdSchema.safeParse(id).success) {
      return Promise.reject(new DuragentError('internal', `${id.slice(0, 100)} is no schedule.`));
    }
    return turns.run(id, work);
  }

  function withLog<T>(id: string, work: (log: RunLogFile) => Promise<T>): Promise<T> {
    return inTurn(id, () => {
      const log = logs.get(id) ?? new RunLogFile(files, runsOf(id), id, rules);
      logs.set(id, log);
      return attempt(`Cannot use the run log of the schedule ${id}`, () => work(log));
    });
  }

  return {
    list: () =>
      attempt(`Cannot read ${directory}`, async () => {
        const all = [...(await lookAtAll()).values()];
        return {
          schedules: all.flatMap((entry) => ('stored' in entry ? [entry.stored] : [])),
          faults: all.flatMap((entry) => ('fault' in entry ? [entry.fault] : [])),
        };
      }),

    create: (schedule: Schedule) =>
      inTurn(schedule.id, () =>
        attempt(`Cannot keep the schedule ${schedule.id}`, async () => {
          if ((await factsOf(files, fileOf(schedule.id))) !== null) return false;
          const text = formatSchedule(schedule, rules.check);
          try {
            await replaceFile(files, fileOf(schedule.id), text);
          } catch (error) {
            // Whoever is told that it failed must not find it at work.
            throw await afterFailure(error, () => files.rm(fileOf(schedule.id), { force: true }));
          }
          return true;
        }),
      ),

    remove: (id) =>
      inTurn(id, () =>
        attempt(`Cannot remove the schedule ${id}`, async () => {
          const isThere = (await factsOf(files, fileOf(id))) !== null;
          await files.rm(fileOf(id), { force: true });
          // Without its run log a schedule would begin anew, so that goes last.
          await syncDirectory(files, directory);
          await files.rm(runsOf(id), { force: true });
          await syncDirectory(files, directory);
          logs.delete(id);
          return isThere;
        }),
      ),

    runLog: (id): Promise<RunLogState> => withLog(id, (log) => log.state()),
    append: (id, record) => withLog(id, (log) => log.append(record)),
    records: (id, limit) => withLog(id, (log) => log.records(limit)),
  };
}

function nameOf({ name }: { name: string }): string {
  return name;
}
