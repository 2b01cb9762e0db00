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

/** Objects in the lines of gateways that have a table of their own, by its heading. */
const gatewayObjects: Readonly<Record<string, ObjectSchema>> = {
  GatewayLimits: protocol.gatewayLimitsSchema,
  ChatCommand: protocol.chatCommandSchema,
  Sender: protocol.senderSchema,
  MessageContent: protocol.messageContentSchema,
  MediaFile: protocol.mediaFileSchema,
  Button: protocol.buttonSchema,
};
/** Objects that have a table of their own, by its heading. */
const objects: Readonly<Record<string, ObjectSchema>> = {
  TextPart: protocol.textPartSchema,
  ReasoningPart: protocol.reasoningPartSchema,
  ToolCall: protocol.toolCallSchema,
  Command: protocol.commandSchema,
  Usage: protocol.usageSchema,
  ErrorInfo: protocol.errorInfoSchema,
  Origin: protocol.originSchema,
  ChatAddress: protocol.chatAddressSchema,
  FilePart: protocol.filePartSchema,
  Delivery: protocol.deliverySchema,
  MessageSource: protocol.sourceSchema,
  TurnLimits: protocol.turnLimitsSchema,
  CreateSession: protocol.createSessionSchema,
  StreamMessage: protocol.streamMessageSchema,
  PostMessage: protocol.postMessageSchema,
  SessionView: protocol.sessionViewSchema,
  BoundChat: protocol.boundChatSchema,
  AgentView: protocol.agentViewSchema,
  AgentList: protocol.agentListSchema,
  BrokenAgent: protocol.brokenAgentSchema,
  MessageAccepted: protocol.messageAcceptedSchema,
  Answer: protocol.answerSchema,
  GatewayView: protocol.gatewayViewSchema,
  ApprovalView: protocol.approvalViewSchema,
  QuestionView: protocol.questionViewSchema,
  OutboxPage: protocol.outboxPageSchema,
  OutboxEntry: protocol.outboxEntrySchema,
  AccessList: protocol.accessListSchema,
  ReloadReport: protocol.reloadReportSchema,
  ServerFile: protocol.serverFileSchema,
  Problem: protocol.problemSchema,
  ...gatewayObjects,
};
/** The lines between server and gateway, by the beginning of their headings. */
const lines: Readonly<Record<string, readonly ObjectSchema[]>> = {
  'To a gateway': protocol.gatewayCommandSchema.options,
  'From a gateway': protocol.gatewayEventSchema.options,
};
const gatewayTables: [string, ObjectSchema][] = [
  ...Object.entries(lines).flatMap(([direction, options]) =>
    options.map((option): [string, ObjectSchema] => [`${direction}: ${typeOf(option)}`, option]),
  ),
  ...Object.entries(gatewayObjects),
];
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
    const deltas = [...union.matchAll(/\{ type: '(\w+)'((?:; \w+\??: \w+)*) \}/g)].map(
      ([, type, fields = '']) => [type, [...fields.matchAll(/(\w+)\??: /g)].map((it) => it[1])],
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
      'runtime/model-call.ts',
    ].filter((file) => !/test|deliveries/.test(file));
    const codes = files.flatMap((file) => failuresIn(path.join(server, file)));
    const rows = tableOf('Failures of a turn').map((row) => codeWords(row['failure'])[0]);
    expect(sorted(rows)).toEqual(sorted([...new Set(codes)]));
  });
});

describe('the gateway half of PROTOCOL.md', () => {
  test.each(Object.entries(lines))('has a section for every line: %s', (direction, options) => {
    const headings = [...document.matchAll(/^### (To|From) a gateway: `([a-z_]+)`$/gm)];
    const sections = headings.filter(([, word]) => direction.startsWith(`${word} `));
    expect(sorted(sections.map((match) => match[2]))).toEqual(sorted(options.map(typeOf)));
  });

  test.each(gatewayTables)('has every field of "%s"', (heading, schema) => {
    const fields = fieldsOf(schema).filter(({ field }) => field !== 'type');
    expect(documented(tables.get(heading) ?? [])).toEqual(fields);
  });

  test.each(gatewayTables)('says what the fields of "%s" may hold', (heading, schema) => {
    const json = schemasOf(schema);
    for (const row of tables.get(heading) ?? []) {
      const field = codeWords(row['field'])[0] ?? '';
      expect({ field, ...boundsInWords(row['type'] ?? '') }).toEqual({
        field,
        ...boundsInSchema(json.get(field) ?? {}),
      });
    }
  });

  test('has every capability, and no other', () => {
    const rows = tableOf('Capabilities of a gateway').map((row) => codeWords(row['capability'])[0]);
    expect(rows).toEqual(protocol.gatewayCapabilitySchema.options);
  });

  test('has every refusal, with whether it may pass, and no other', () => {
    const rows = tableOf('Refusals of a gateway').map((row) => [
      codeWords(row['refusal'])[0],
      row['kind'],
    ]);
    const codes = protocol.gatewayErrorCodeSchema.options.map((code) => [
      code,
      protocol.isTransient(code) ? 'transient' : 'permanent',
    ]);
    expect(rows).toEqual(codes);
    expect(protocol.isTransient('one_of_its_own')).toBe(true);
  });

  test('has an example whose lines are valid, with no field that is not in a table', () => {
    const examples = [...document.matchAll(/^([→←]) (\{.*\})$/gm)];
    expect(examples.length).toBeGreaterThan(10);
    for (const [, arrow, line = ''] of examples) {
      const value = JSON.parse(line) as { type: string };
      const isCommand = arrow === '→';
      const result = isCommand
        ? protocol.readGatewayCommand(value)
        : protocol.readGatewayEvent(value);
      expect(result).toMatchObject({ ok: true });
      const options = lines[isCommand ? 'To a gateway' : 'From a gateway'] ?? [];
      const option = options.find((it) => typeOf(it) === value.type);
      expect(Object.keys(option?.shape ?? {})).toEqual(expect.arrayContaining(Object.keys(value)));
    }
  });

  test('says how long and how deep a line may be, and what a cursor may take', () => {
    const transport = sectionOf('Transport');
    expect(transport).toContain(`at most ${protocol.MAX_LINE_BYTES} bytes`);
    expect(transport).toContain(`at most ${protocol.MAX_LINE_DEPTH} levels`);
    expect(transport).toContain(`at most ${protocol.MAX_CURSOR_BYTES / 1024} KiB`);
    expect(transport).toContain(`at most ${protocol.MAX_OPEN_REQUESTS} requests`);
  });
});

function typeOf(option: ObjectSchema): string {
  return wordsOf(option.shape['type'] as Schema)[0] ?? '';
}

/** The text under a heading, up to the next one. */
function sectionOf(heading: string): string {
  const [, text = ''] = document.split(new RegExp(`^#+ ${heading}$`, 'm'));
  return (text.split(/^#/m)[0] ?? '').replaceAll(/\s+/g, ' ');
}

function tableOf(heading: string): TableRow[] {
  const table = tables.get(heading);
  if (table === undefined) throw new Error(`PROTOCOL.md has no table under "${heading}"`);
  return table;
}

/** What is compared of a field: its name, whether it may be absent or null, its default as JSON, and its words. */
interface Field {
  field: string;
  optional: boolean;
  nullable: boolean;
  default: string | null;
  words: string[];
}

function documented(rows: TableRow[]): Field[] {
  return rows.map((row) => ({
    field: codeWords(row['field'])[0] ?? '',
    optional: row['present'] !== 'always',
    nullable: row['type']?.endsWith(' or null') ?? false,
    default: /^default `(.+)`$/.exec(row['present'] ?? '')?.[1] ?? null,
    words: wordsOfType((row['type'] ?? '').replace(/,? or null$/, '')),
  }));
}

/** A type that is a list of words in code: an enumeration. */
function wordsOfType(type: string): string[] {
  return /^(`[^`]+` ?)+$/.test(type) ? codeWords(type) : [];
}

/** As much of a zod schema as is looked at. */
interface Schema {
  def: {
    type: string;
    innerType?: unknown;
    element?: unknown;
    values?: unknown[];
    defaultValue?: unknown;
  };
  shape?: Readonly<Record<string, Schema>>;
  options?: unknown;
  toJSONSchema: (options: { io: 'input' }) => unknown;
}
type ObjectSchema = Schema & { shape: Readonly<Record<string, Schema>> };

/** The fields of an object and, dotted, of the objects in it that have no table of their own. */
function fieldsOf(schema: ObjectSchema): Field[] {
  return membersOf(schema).map(([field, value]) => {
    const { inner, optional, nullable, defaultValue } = unwrap(value);
    const json = defaultValue === undefined ? null : JSON.stringify(defaultValue);
    return { field, optional, nullable, default: json, words: wordsOf(inner) };
  });
}

/** The members of an object and, dotted, of the objects in it that have no table of their own. */
function membersOf(schema: ObjectSchema): [name: string, value: Schema][] {
  return Object.entries(schema.shape).flatMap(([name, value]) => {
    const { inner } = unwrap(value);
    const isList = inner.def.type === 'array';
    const { shape } = isList ? (inner.def.element as Schema) : inner;
    if (shape === undefined || named.has(shape)) return [[name, value]];
    const prefix = `${name}${isList ? '[]' : ''}.`;
    const below = membersOf({ ...inner, shape });
    return [[name, value], ...below.map(([field, it]): [string, Schema] => [prefix + field, it])];
  });
}

/** A schema without what says that its value may be absent or null. */
function unwrap(value: Schema): {
  inner: Schema;
  optional: boolean;
  nullable: boolean;
  defaultValue: unknown;
} {
  const wrappers = ['optional', 'nullable', 'default'];
  const unwrapped = { inner: value, optional: false, nullable: false, defaultValue: undefined };
  while (wrappers.includes(unwrapped.inner.def.type)) {
    const { def } = unwrapped.inner;
    if (def.type === 'nullable') unwrapped.nullable = true;
    else unwrapped.optional = true;
    if (def.type === 'default') unwrapped.defaultValue = def.defaultValue as undefined;
    unwrapped.inner = def.innerType as Schema;
  }
  return unwrapped;
}

/** The values of an enumeration or a literal. */
function wordsOf(schema: Schema): string[] {
  if (schema.def.type === 'enum') return schema.options as string[];
  return schema.def.type === 'literal' ? (schema.def.values ?? []).map(String) : [];
}

/** As much of a JSON Schema as is compared. */
interface Json {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  items?: Json;
}

/** What a value may be: its kind, the numbers that bound it, its pattern. */
interface Bounds {
  kind: string;
  numbers: number[];
  isNotEmpty: boolean;
  pattern: string | null;
}

/** The JSON Schema of every member, by its name. */
function schemasOf(schema: ObjectSchema): Map<string, Json> {
  return new Map(
    membersOf(schema).map(([name, value]) => [
      name,
      unwrap(value).inner.toJSONSchema({ io: 'input' }) as Json,
    ]),
  );
}

function boundsInSchema(json: Json): Bounds {
  const levels: Json[] = [];
  for (let at: Json | undefined = json; at !== undefined; at = at.items) levels.push(at);
  const isNotEmpty = levels.some((it) => it.minLength === 1 && it.maxLength === undefined);
  const numbers = levels.flatMap((it) => [
    it.maxLength === undefined ? undefined : it.minLength,
    it.maxLength,
    it.minimum,
    it.maximum,
    it.minItems,
    it.maxItems,
  ]);
  const isWord = json.const !== undefined || json.enum !== undefined;
  return {
    kind: isWord ? 'word' : (json.type ?? 'any'),
    numbers: distinct(numbers.filter((it) => it !== undefined && Number.isSafeInteger(it * 2))),
    isNotEmpty,
    pattern: json.pattern === protocol.namePattern.source ? null : (json.pattern ?? null),
  };
}

/** The same, as a cell says it. */
function boundsInWords(cell: string): Bounds {
  const types = tableOf('Transport').map((row) => [row['gateway type'], row['meaning']]);
  const meaning = types.find(([name]) => name === cell)?.[1]?.split(':')[0] ?? cell;
  const words = meaning.replaceAll(/\[[^\]]*\]\([^)]*\)/g, '{}').replaceAll(/`[^`]*`/g, '');
  const kinds: [RegExp, string][] = [
    [/^\s*$/, 'word'],
    [/^(text|name)\b/, 'string'],
    [/^integer\b/, 'integer'],
    [/^number\b/, 'number'],
    [/^boolean$/, 'boolean'],
    [/^(object|map|\{\})$/, 'object'],
    [/^(list|rows) of /, 'array'],
    [/^any JSON/, 'any'],
  ];
  const isAny = meaning.startsWith('any JSON');
  return {
    kind: kinds.find(([pattern]) => pattern.test(words))?.[1] ?? `"${cell}"`,
    numbers: isAny ? [] : distinct([...words.matchAll(/\d+/g)].map(Number)),
    isNotEmpty: words.includes('not empty'),
    pattern: words.includes('matches') ? (codeWords(meaning)[0] ?? null) : null,
  };
}

function distinct(numbers: readonly (number | undefined)[]): number[] {
  return [...new Set(numbers.filter((it) => it !== undefined))].toSorted((a, b) => a - b);
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
