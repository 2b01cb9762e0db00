import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DuragentError, namePattern } from '@duragent/protocol';
import type { FileFault } from '../../core/agent.ts';
import type { PolicyFile } from '../../core/policy/policy-file.ts';
import type { PolicyOwner, PolicyStore } from '../../ports/policy-store.ts';
import { changeBesidePeople, factsOf, stampOf, textOf } from '../files/edited-file.ts';
import {
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
import { addRule } from './local-rules.ts';
import { checkRule, type ReadPolicy } from './policy-text.ts';

export interface FilePolicyStoreOptions {
  /** Absolute path of the data directory, which exists. */
  dataDir: string;
  readPolicy: ReadPolicy;
  /** How long what was read holds without looking again, in ms; default 0. */
  freshMs?: number;
  /** How many files are kept in memory; default 10,000. */
  cacheSize?: number;
  /** For tests: the file system. */
  files?: Files;
}

const MAX_BYTES = 256 * 1024;
/** Changes beyond this many that wait are refused. */
const MAX_WAITING = 1000;
/** A file changed twice within this time may look as if it was changed once. */
const CLOCK_STEP_MS = 50;

/** A policy file; null: there is none. */
type Reading = { ok: true; policy: PolicyFile | null } | { ok: false; faults: FileFault[] };

interface Known {
  /** Changes whenever the file does; null: there is none. */
  stamp: string | null;
  /** Whether the stamp would show any change from now on. */
  isSettled: boolean;
  text: string;
  reading: Reading;
  /** On the monotonic clock. */
  lookedAt: number;
}

/** Policies as YAML files that people may edit while the server runs. */
export function filePolicyStore(options: FilePolicyStoreOptions): PolicyStore {
  const { dataDir, readPolicy, freshMs = 0, cacheSize = 10_000, files = nodeFiles } = options;
  /** Least recently read first. */
  const cache = new Map<string, Known>();
  const changes = new Turns();
  let waiting = 0;

  async function look(file: string, isFreshEnough: boolean): Promise<Known> {
    const lookedAt = performance.now();
    const known = cache.get(file);
    if (known && isFreshEnough && lookedAt - known.lookedAt < freshMs) return known;
    const found = await readAgain(file, known, lookedAt);
    cache.delete(file);
    cache.set(file, found);
    for (const oldest of cache.keys()) {
      if (cache.size <= cacheSize) break;
      cache.delete(oldest);
    }
    return found;
  }

  async function readAgain(
    file: string,
    known: Known | undefined,
    lookedAt: number,
  ): Promise<Known> {
    try {
      const facts = await factsOf(files, file);
      const stamp = facts === null ? null : stampOf(facts);
      if (known?.stamp === stamp && known.isSettled) return { ...known, lookedAt };
      if (facts === null) return absent(lookedAt);
      const { text, ...seen } = await readText(file);
      const same = known !== undefined && known.text === text && known.stamp !== null;
      return { ...seen, text, reading: same ? known.reading : read(text, file), lookedAt };
    } catch (error) {
      // It may be gone by now.
      if (errorCode(error) === 'ENOENT') return absent(lookedAt);
      const faults = [{ file, line: 1, column: 1, message: reasonOf(error) }];
      const reading: Reading = { ok: false, faults };
      return { stamp: null, isSettled: false, text: '', reading, lookedAt };
    }
  }

  function read(text: string, file: string): Reading {
    const reading = readPolicy(text, file);
    return reading.ok ? { ok: true, policy: reading.value } : reading;
  }

  async function readText(file: string): Promise<Pick<Known, 'stamp' | 'isSettled' | 'text'>> {
    return withFile(files, file, flags.readAny, async (handle) => {
      const facts = await handle.stat();
      if (!facts.isFile()) throw new Unreadable('this is no plain file; put one here');
      if (facts.size > MAX_BYTES) {
        throw new Unreadable('the file is larger than 256 KiB; make it smaller');
      }
      const text = textOf(await readBytes(handle, 0, facts.size));
      if (text === null) throw new Unreadable('the file is not UTF-8 text; save it as UTF-8');
      const isSettled = Math.abs(Date.now() - facts.ctimeMs) > CLOCK_STEP_MS;
      return { stamp: stampOf(facts), isSettled, text };
    });
  }

  async function readingOf(file: string): Promise<Reading> {
    return (await look(file, true)).reading;
  }

  function localFile(agent: PolicyOwner): string {
    return path.join(dataDir, 'agents', agent.name, 'policy.local.yaml');
  }

  /** @returns null: a person has saved the file meanwhile. */
  async function change(file: string, rule: string): Promise<'done' | null> {
    const { text, stamp, reading } = await look(file, false);
    if (!reading.ok) throw invalid(reading.faults);
    const before = reading.policy;
    if (before?.allow.some((one) => one.text === rule)) return 'done';
    const changed = addRule(text, rule);
    const after = changed === null ? null : readPolicy(changed, file);
    if (after?.ok === false) throw invalid(after.faults);
    if (changed === null || after === null || !isAdded(before, after.value, rule)) {
      const message = `the rule cannot be added here; write it under "allow" yourself: ${JSON.stringify(rule)}`;
      throw invalid([{ file, line: 1, column: 1, message }]);
    }
    await makeFolder(path.dirname(file));
    const facts = await factsOf(files, file);
    if ((facts === null ? null : stampOf(facts)) !== stamp) return null;
    await replaceFile(files, file, changed);
    cache.delete(file);
    return 'done';
  }

  /** Makes an agent's folder in the data directory. */
  async function makeFolder(folder: string): Promise<void> {
    const made = await files.mkdir(folder, { recursive: true, mode: DIRECTORY_MODE });
    if (!(await files.lstat(folder)).isDirectory()) {
      const message = 'this is a symbolic link; put the folder itself here';
      throw invalid([{ file: folder, line: 1, column: 1, message }]);
    }
    if (made === undefined) return;
    const last = path.dirname(made);
    for (let each = path.dirname(folder); ; each = path.dirname(each)) {
      await syncDirectory(files, each);
      if (each === last || each === path.dirname(each)) return;
    }
  }

  return {
    async load(agent) {
      if (!namePattern.test(agent.name)) return badName(agent);
      // What a person has just allowed counts for the very next call.
      await changes.settled(localFile(agent));
      const [workspace, own, local] = await Promise.all([
        readingOf(path.join(dataDir, 'policy.yaml')),
        readingOf(path.join(agent.home, 'policy.yaml')),
        readingOf(localFile(agent)),
      ]);
      if (workspace.ok && own.ok && local.ok) {
        const policies = { workspace: workspace.policy, agent: own.policy, local: local.policy };
        return { policies };
      }
      const faults = [workspace, own, local].flatMap((one) => (one.ok ? [] : one.faults));
      return { policies: null, faults };
    },

    async allowAlways(agent, rule) {
      if (!namePattern.test(agent.name)) throw invalid(badName(agent).faults);
      checkRule(readPolicy, rule);
      const file = localFile(agent);
      if (waiting >= MAX_WAITING) {
        throw new DuragentError(
          'queue_full',
          `Too many changes of policies wait: try again later.`,
        );
      }
      waiting += 1;
      try {
        await changes.run(file, () =>
          attempt(`Cannot change ${file}`, () =>
            changeBesidePeople(file, () => change(file, rule)),
          ),
        );
      } finally {
        waiting -= 1;
      }
    },
  };
}

/** Why a file is not read. */
class Unreadable extends Error {}

function reasonOf(error: unknown): string {
  if (error instanceof Unreadable) return error.message;
  if (errorCode(error) === 'ELOOP') return 'this is a symbolic link; put the file itself here';
  const why = errorCode(error) ?? String(error);
  return `the file cannot be read (${why}); mend it, or remove it if it says nothing`;
}

function absent(lookedAt: number): Known {
  const reading: Reading = { ok: true, policy: null };
  return { stamp: null, isSettled: true, text: '', reading, lookedAt };
}

function invalid(faults: readonly FileFault[]): DuragentError {
  const lines = faults.map((one) => `${one.file}:${one.line}:${one.column}: ${one.message}`);
  return new DuragentError('config_invalid', lines.join('\n'), { details: { faults } });
}

function badName({ home }: PolicyOwner): { policies: null; faults: FileFault[] } {
  const message = 'an agent is named by 1 to 63 of a-z, 0-9 and "-"; rename it';
  return { policies: null, faults: [{ file: home, line: 1, column: 1, message }] };
}

/** Whether a policy says what it said before, and the rule. */
function isAdded(before: PolicyFile | null, after: PolicyFile, rule: string): boolean {
  const { mode = null, deny = [], allow = [], notify = [] } = before ?? {};
  return (
    after.mode === mode &&
    isDeepStrictEqual(after.deny, deny) &&
    isDeepStrictEqual(after.notify, notify) &&
    isDeepStrictEqual(after.allow.slice(0, -1), allow) &&
    after.allow.at(-1)?.text === rule
  );
}
