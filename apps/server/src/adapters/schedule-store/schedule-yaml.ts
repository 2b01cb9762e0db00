import { DuragentError, scheduleFileSchema, type Schedule } from '@duragent/protocol';
import { isDeepStrictEqual } from 'node:util';
import { Document, LineCounter, visit } from 'yaml';
import type { ScheduleRules } from '../../ports/schedule-store.ts';
import {
  aliasFault,
  composeYaml,
  describeIssue,
  nodeAt,
  placeOf,
  startOf,
  type TextFault,
} from '../files/yaml-text.ts';

const HEADING = ' It may be edited while the server runs; a change counts within 5 seconds.';

/** What is wrong with a file, and where. */
export interface FileFlaw {
  line: number;
  column: number;
  message: string;
}

/** Reads a schedule's file. @returns the schedule, or the first thing that is wrong with it. */
export function parseSchedule(
  id: string,
  text: string,
  check: ScheduleRules['check'],
): { schedule: Schedule } | { flaw: FileFlaw } {
  const lines = new LineCounter();
  const found = read(id, text, lines, check);
  if ('schedule' in found) return found;
  return { flaw: { ...placeOf(lines, found.offset), message: found.message } };
}

function read(
  id: string,
  text: string,
  lines: LineCounter,
  check: ScheduleRules['check'],
): { schedule: Schedule } | TextFault {
  const composed = compose(text, lines);
  if (!('document' in composed)) return composed;
  const { document } = composed;
  const checked = scheduleFileSchema.safeParse(document.toJS() ?? {});
  if (!checked.success) {
    const [first] = checked.error.issues.flatMap((issue) => describeIssue(issue, document));
    return first ?? { offset: 0, message: 'this is no schedule' };
  }
  const schedule: Schedule = { id, ...checked.data };
  const flaw = check(schedule);
  if (flaw === null) return { schedule };
  return { offset: startOf(nodeAt(document, flaw.path)), message: flaw.message };
}

function compose(text: string, lines: LineCounter): { document: Document.Parsed } | TextFault {
  const composed = composeYaml(text, lines, { uniqueKeys: true });
  if (composed.document === null) return composed.faults[0];
  const { document, faults } = composed;
  const [first] = faults;
  if (first) return first;
  let alias: TextFault | null = null;
  visit(document, {
    Alias(_, node) {
      alias = aliasFault(node);
      return visit.BREAK;
    },
  });
  return alias ?? { document };
}

/** A schedule as its file holds it. @throws DuragentError internal for one that could not be read again. */
export function formatSchedule(schedule: Schedule, check: ScheduleRules['check']): string {
  const { id, agent, name, created_at, created_by, ...rest } = schedule;
  const document = new Document({ agent, name, created_at, created_by, ...rest });
  document.commentBefore = HEADING;
  const text = document.toString({ lineWidth: 0 });
  const again = parseSchedule(id, text, check);
  const isSame = 'schedule' in again && isDeepStrictEqual(again.schedule, withoutGaps(schedule));
  if (isSame) return text;
  const why = 'flaw' in again ? again.flaw.message : 'it would be read as another';
  throw new DuragentError('internal', `The schedule ${id} cannot be kept: ${why}.`);
}

/** Without members that are there and undefined. */
function withoutGaps(schedule: Schedule): unknown {
  return JSON.parse(JSON.stringify(schedule));
}
