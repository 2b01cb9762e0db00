import { DuragentError, idPattern, namePattern } from '@duragent/protocol';
import type { MemoryFile } from '../../ports/memory-store.ts';

/** The folders and the name of a file of memory, from the root that its kind lies in. */
export interface MemoryPath {
  root: 'memory' | 'sessions';
  folders: string[];
  name: string;
}

/** Where a file of memory lies. @throws DuragentError `invalid_request` where none can be named so. */
export function memoryPath(file: MemoryFile): MemoryPath {
  switch (file.kind) {
    case 'day':
      check(isDay(file.day), file.day, 'a day is written 2026-11-20');
      return { root: 'memory', folders: [], name: `${file.day}.md` };
    case 'world':
      check(namePattern.test(file.topic), file.topic, 'a topic is 1 to 63 of a-z, 0-9 and "-"');
      return { root: 'memory', folders: ['world'], name: `${file.topic}.md` };
    case 'curated':
      check(namePattern.test(file.agent), file.agent, 'an agent is 1 to 63 of a-z, 0-9 and "-"');
      return { root: 'memory', folders: ['agents', file.agent], name: 'MEMORY.md' };
    case 'session':
      check(idPattern('session').test(file.session), file.session, 'this is no id of a session');
      return { root: 'sessions', folders: [file.session, 'memory'], name: 'working.md' };
  }
}

/** Whether a name is a day that there is. */
export function isDay(name: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(name)) return false;
  const at = Date.parse(`${name}T00:00:00Z`);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(name);
}

function check(isGood: boolean, word: string, rule: string): void {
  if (isGood) return;
  const shown = JSON.stringify(word.slice(0, 100));
  throw new DuragentError('invalid_request', `No file of memory is named ${shown}: ${rule}.`);
}
