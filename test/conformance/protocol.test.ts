import { globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import * as protocol from '@duragent/protocol';
import { exitCodes } from '../../apps/cli/src/exit-codes.ts';
import type { HttpDeps } from '../../apps/server/src/http/context.ts';
import { problemOf } from '../../apps/server/src/http/problem.ts';
import type { AddRoute } from '../../apps/server/src/http/route.ts';
import { createRouter } from '../../apps/server/src/http/router.ts';
import { generateSchemas, schemaFolder } from '../../scripts/generate-schemas.ts';
import { codeWords, readTables, type TableRow } from '../support/markdown.ts';

const root = path.join(import.meta.dirname, '../..');
const server = path.join(root, 'apps/server/src');
const document = readFileSync(path.join(root, 'protocol/PROTOCOL.md'), 'utf8');
const tables = readTables(document);

/** Objects that have a table of their own, by its heading. */
const objects: Readonly<Record<string, ObjectSchema>> = {
  TextPart: protocol.textPartSchema,
  ReasoningPart: protocol.reasoningPartSchema,
  ToolCall: protocol.toolCallSchema,
  Usage: protocol.usageSchema,
  ErrorInfo: protocol.errorInfoSchema,
  Origin: protocol.originSchema,
  MessageSource: protocol.sourceSchema,
  TurnLimits: protocol.turnLimitsSchema,
  CreateSession: protocol.createSessionSchema,
  StreamMessage: protocol.streamMessageSchema,
  PostMessage: protocol.postMessageSchema,
  SessionView: protocol.sessionViewSchema,
  AgentView: protocol.agentViewSchema,
  AgentList: protocol.agentListSchema,
  BrokenAgent: protocol.brokenAgentSchema,
  MessageAccepted: protocol.messageAcceptedSchema,
  Answer: protocol.answerSchema,
  ServerFile: protocol.serverFileSchema,
  Problem: protocol.problemSchema,
};
const named = new Set(Object.values(objects).map(({ shape }) => shape));
const events: Readonly<Record<string, ObjectSchema>> = Object.fromEntries(
  protocol.sessionEventSchema.options.map((option) => [option.shape.type.value, option]),
);
const commonFields = ['seq', 'epoch', 'at', 'type'];

describe('the JSON Schemas', () => {
  test('are what the zod schemas give', () => {
    const files = readdirSync(schemaFolder).map((name) => [
      name,
      readFileSync(path.join(schemaFolder, name), 'utf8'),
    ]);
    // When this fails: npm run schemas
    expect(Object.fromEntries(files)).toEqual(generateSchemas());
  });
});

describe('PROTOCOL.md', () => {
  test('has a section for every event type, and for no other', () => {
    const sections = [...document.matchAll(/^### `([a-z_]+)`$/gm)].map((match) => match[1]);
    expect(sorted(sections)).toEqual(sorted(Object.keys(events)));
  });

  test('names the fields that every event begins with', () => {
    expect(documented(tableOf('Common fields')).map(({ field }) => field)).toEqual(commonFields);
    for (const option of Object.values(events)) {
      expect(Object.keys(option.shape).slice(0, 4)).toEqual(commonFields);
    }
  });

  test.each(Object.entries(events))('has every field of %s', (type, option) => {
    const own = fieldsOf(option).filter(({ field }) => !commonFields.includes(field));
    expect(documented(tableOf(type))).toEqual(own);
  });

  test('has a section for every object that others name, and for no other', () => {
    const sections = [...document.matchAll(/^### `([A-Z]\w+)`$/gm)].map((match) => match[1]);
    expect(sorted(sections)).toEqual(sorted(Object.keys(objects)));
  });

  test.each(Object.entries(objects))('has every field of %s', (name, schema) => {
    const isPart = schema.shape['type']?.def.type === 'literal';
    const fields = fieldsOf(schema).filter(({ field }) => !(isPart && field === 'type'));
    expect(documented(tableOf(name))).toEqual(fields);
  });

  test('has every delta with its fields, and no other', () => {
    const source = readFileSync(path.join(root, 'protocol/src/api.ts'), 'utf8');
    const union = source.slice(source.indexOf('export type Delta ='));
    const deltas = [...union.matchAll(/\{ type: '(\w+)'((?:; \w+: \w+)*) \}/g)].map(
      ([, type, fields = '']) => [type, [...fields.matchAll(/(\w+): /g)].map((it) => it[1])],
    );
    expect(deltas.length).toBeGreaterThan(5);
    const rows = tableOf('Streams').map((row) => [
      codeWords(row['delta'])[0],
      codeWords(row['data']),
    ]);
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(deltas));
  });

  test('has every frame of a stream of one turn, and no other', () => {
    const sent = globSync('http/**/*.ts', { cwd: server })
      .filter((file) => !/test/.test(file))
      .flatMap((file) => [
        ...readFileSync(path.join(server, file), 'utf8').matchAll(/encodeMessage\(\s*'(\w+)'/g),
      ])
      .map((match) => match[1]);
    const rows = tableOf('Stream of one turn').map((row) => codeWords(row['frame'])[0]);
    expect(sorted(rows)).toEqual(sorted([...new Set([...sent, 'token'])]));
  });

  test('has every route with its scope, and no other', async () => {
    const rows = tableOf('Routes').map((row) => {
      const scope = row['scope'] === 'public' ? null : codeWords(row['scope'])[0];
      return `${codeWords(row['method'])[0]} ${codeWords(row['path'])[0]} ${scope}`;
    });
    const routes = await routesOf();
    expect(routes.length).toBeGreaterThan(10);
    expect(sorted(rows)).toEqual(sorted(routes));
  });

  test('has every code with the status and Retry-After that it is answered with, and no other', () => {
    const answered: string[] = [];
    const hidden: string[] = [];
    for (const code of Object.keys(exitCodes) as protocol.ErrorCode[]) {
      const { status, headers, body } = problemOf(new protocol.DuragentError(code, ''), 'id');
      if (body.code === code) answered.push(`${code} ${status} ${headers['Retry-After'] ?? ''}`);
      else hidden.push(code);
    }
    const rows = tableOf('Problems').map((row) => {
      const seconds = /^\d+$/.exec(row['Retry-After, s'] ?? '')?.[0] ?? '';
      return `${codeWords(row['code'])[0]} ${row['status']} ${seconds}`;
    });
    expect(sorted(rows)).toEqual(sorted(answered));
    const rest = /which HTTP answers as `internal`: ([^.]+)\./.exec(document)?.[1];
    expect(sorted(codeWords(rest))).toEqual(sorted(hidden));
  });

  test('has every failure of a turn, and no other', () => {
    const files = [
      ...globSync('adapters/language-model/*.ts', { cwd: server }),
      ...globSync('core/session/*.ts', { cwd: server }),
      'runtime/effects.ts',
    ].filter((file) => !/test/.test(file));
    const codes = files.flatMap((file) => failuresIn(path.join(server, file)));
    const rows = tableOf('Failures of a turn').map((row) => codeWords(row['failure'])[0]);
    expect(sorted(rows)).toEqual(sorted([...new Set(codes)]));
  });
});

function tableOf(heading: string): TableRow[] {
  const table = tables.get(heading);
  if (table === undefined) throw new Error(`PROTOCOL.md has no table under "${heading}"`);
  return table;
}

/** What is compared of a field: its name, whether it may be absent or null, and its words. */
interface Field {
  field: string;
  optional: boolean;
  nullable: boolean;
  words: string[];
}

function documented(rows: TableRow[]): Field[] {
  return rows.map((row) => ({
    field: codeWords(row['field'])[0] ?? '',
    optional: row['present'] !== 'always',
    nullable: row['type']?.endsWith(' or null') ?? false,
    words: wordsOfType(row['type'] ?? ''),
  }));
}

/** A type that is a list of words in code: an enumeration. */
function wordsOfType(type: string): string[] {
  return /^(`[^`]+` ?)+$/.test(type) ? codeWords(type) : [];
}

/** As much of a zod schema as is looked at. */
interface Schema {
  def: { type: string; innerType?: unknown; element?: unknown };
  shape?: Readonly<Record<string, Schema>>;
  options?: unknown;
}
type ObjectSchema = Schema & { shape: Readonly<Record<string, Schema>> };

/** The fields of an object and, dotted, of the objects in it that have no table of their own. */
function fieldsOf(schema: ObjectSchema): Field[] {
  return Object.entries(schema.shape).flatMap(([name, value]) => {
    const optional = value.def.type === 'optional';
    let inner = value;
    let nullable = false;
    while (inner.def.type === 'optional' || inner.def.type === 'nullable') {
      nullable ||= inner.def.type === 'nullable';
      inner = inner.def.innerType as Schema;
    }
    const words = inner.def.type === 'enum' ? (inner.options as string[]) : [];
    const field = { field: name, optional, nullable, words };
    const isList = inner.def.type === 'array';
    const { shape } = isList ? (inner.def.element as Schema) : inner;
    if (shape === undefined || named.has(shape)) return [field];
    const prefix = `${name}${isList ? '[]' : ''}.`;
    const below = fieldsOf({ def: { type: 'object' }, shape });
    return [field, ...below.map((one) => ({ ...one, field: prefix + one.field }))];
  });
}

/** Every route as `METHOD /path/{parameter} scope`. Fails where the router has others. */
async function routesOf(): Promise<string[]> {
  const deps = { auth: { adminEnabled: true } } as HttpDeps;
  const routes: string[] = [];
  const add: AddRoute = (method, route, scope) => {
    routes.push(`${method} ${route.replaceAll(/:(\w+)/g, '{$1}')} ${scope}`);
  };
  for (const file of globSync('http/routes/*.ts', { cwd: server })) {
    if (/test/.test(file)) continue;
    const exported = (await import(path.join(server, file))) as Record<string, unknown>;
    for (const [name, value] of Object.entries(exported)) {
      if (!name.endsWith('Routes') || typeof value !== 'function') continue;
      (value as (add: AddRoute, deps: HttpDeps) => void)(add, deps);
    }
  }
  const stack = createRouter(deps).stack.map((layer) => layer.path);
  expect(sorted(stack.map((it) => String(it).replaceAll(/:(\w+)/g, '{$1}')))).toEqual(
    sorted(routes.map((it) => it.split(' ')[1])),
  );
  return routes;
}

/** The codes that a file gives to failures: `code: 'x'`, `code: a ? 'x' : 'y'`, `failure('x', …)`. */
function failuresIn(file: string): string[] {
  const source = readFileSync(file, 'utf8');
  const places = [
    ...source.matchAll(/\bcode: ([^,;}\n]*'[^,;}\n]*)/g),
    ...source.matchAll(/\bfailure\(('\w+')/g),
  ];
  return places.flatMap((match) =>
    [...(match[1] ?? '').matchAll(/'(\w+)'/g)].map((it) => it[1] ?? ''),
  );
}

function sorted(words: readonly (string | undefined)[]): (string | undefined)[] {
  return words.toSorted((a = '', b = '') => a.localeCompare(b));
}
