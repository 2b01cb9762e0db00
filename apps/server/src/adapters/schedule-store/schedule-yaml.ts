import { DuragentError, scheduleFileSchema, type Schedule } from '@duragent/protocol';
import { isDeepStrictEqual } from 'node:util';
import {
  Composer,
  Document,
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  Parser,
  visit,
  type CST,
  type Node,
  type ParsedNode,
} from 'yaml';
import type { z } from 'zod';
import type { ScheduleRules } from '../../ports/schedule-store.ts';

const MAX_LEVELS = 8;
const COLLECTIONS: ReadonlySet<string> = new Set(['block-map', 'block-seq', 'flow-collection']);
const HEADING = ' It may be edited while the server runs; a change counts within 5 seconds.';

/** What is wrong with a file, and where. */
export interface FileFlaw {
  line: number;
  column: number;
  message: string;
}

interface Flaw {
  offset: number;
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
  const { line, col } = lines.linePos(found.offset);
  return {
    flaw: { line: Math.max(line, 1), column: Math.max(col, 1), message: found.message },
  };
}

function read(
  id: string,
  text: string,
  lines: LineCounter,
  check: ScheduleRules['check'],
): { schedule: Schedule } | Flaw {
  const composed = compose(text, lines);
  if (!('document' in composed)) return composed;
  const { document } = composed;
  const checked = scheduleFileSchema.safeParse(document.toJS() ?? {});
  if (!checked.success) {
    const [issue] = checked.error.issues;
    return issue ? describe(issue, [], document) : { offset: 0, message: 'this is no schedule' };
  }
  const schedule: Schedule = { id, ...checked.data };
  const flaw = check(schedule);
  if (flaw === null) return { schedule };
  return { offset: startOf(nodeAt(document, flaw.path)), message: flaw.message };
}

/** As the library's `parseDocument`, but bounded: composing recurses. */
function compose(text: string, lines: LineCounter): { document: Document.Parsed } | Flaw {
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.filter(({ type }) => COLLECTIONS.has(type)).length <= MAX_LEVELS) continue;
    const message = `nested more than ${MAX_LEVELS} levels deep; flatten it`;
    return { offset: parser.offset - lexeme.length, message };
  }
  tokens.push(...parser.end());
  const [document, second] = new Composer({ schema: 'core' }).compose(tokens, true, text.length);
  if (document === undefined) throw new Error('the YAML library composed nothing');
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) return { offset: problem.pos[0], message: problem.message };
  if (second !== undefined) {
    const message = 'a second document begins here; one file holds one';
    return { offset: second.range[0], message };
  }
  let alias: Flaw | null = null;
  visit(document, {
    Alias(_, node) {
      alias = { offset: startOf(node), message: 'write the value out instead of an alias' };
      return visit.BREAK;
    },
  });
  return alias ?? { document };
}

function describe(
  issue: z.core.$ZodIssue,
  base: readonly PropertyKey[],
  document: Document.Parsed,
): Flaw {
  const path = [...base, ...issue.path];
  const where = path.join('.') || 'the file';
  if (issue.code === 'invalid_union') {
    const inner = nearest(issue.errors);
    if (inner) return describe(inner, path, document);
  }
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const message = `unknown key ${JSON.stringify(key)}; remove it`;
    return { offset: keyOffset(document, path, key), message };
  }
  const node = nodeAt(document, path);
  if (node === undefined) {
    return { offset: startOf(nodeAt(document, path.slice(0, -1))), message: `${where} is missing` };
  }
  if (issue.code === 'invalid_type') {
    const isBare = issue.expected === 'string' && isScalar(node) && node.value !== null;
    const words = { string: 'text', array: 'a list', object: 'a map of keys' };
    const expected = Object.entries(words).find(([type]) => type === issue.expected)?.[1];
    const hint = isBare ? '; write it in quotes' : '';
    const message = `${where}: expected ${expected ?? issue.expected}${hint}`;
    return { offset: startOf(node), message };
  }
  return { offset: startOf(node), message: `${where}: ${issue.message}` };
}

/** The first fault of the one form that comes closest to what was written; undefined: none does. */
function nearest(forms: readonly (readonly z.core.$ZodIssue[])[]): z.core.$ZodIssue | undefined {
  const least = Math.min(...forms.map((issues) => issues.length));
  const [first, second] = forms.filter((issues) => issues.length === least);
  return second === undefined ? first?.[0] : undefined;
}

function nodeAt(document: Document.Parsed, path: readonly PropertyKey[]): Node | undefined {
  if (path.length === 0) return document.contents ?? undefined;
  return (document.getIn(path, true) ?? undefined) as Node | undefined;
}

function keyOffset(document: Document.Parsed, path: readonly PropertyKey[], key: string): number {
  const map = nodeAt(document, path);
  const keys = isMap(map) ? map.items.map((pair) => pair.key) : [];
  return startOf(keys.find((each) => isScalar(each) && String(each.value) === key) ?? map);
}

function startOf(node: unknown): number {
  return (node as ParsedNode | undefined)?.range?.[0] ?? 0;
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
