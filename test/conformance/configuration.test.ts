import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { configFileSchema, keysWithoutEffect } from '../../apps/server/src/config/config-schema.ts';
import { readYaml } from '../../apps/server/src/config/yaml-file.ts';
import { codeWords, readTables } from '../support/markdown.ts';

const root = path.join(import.meta.dirname, '../..');

/** Keys of the example whose value is this repository's and not the default. */
const ownValues: Readonly<Record<string, unknown>> = {
  data_dir: '.duragent',
  default_agent: 'assistant',
  'agents.static.path': './agents',
};

/** Every key with its default, as people write it: durations as text. */
const defaults = flatten(writtenDefaults(configFileSchema));

describe('the keys of duragent.yaml', () => {
  test('are all in the schema', () => {
    expect(Object.keys(defaults).length).toBeGreaterThan(50);
    // What is written here as defaults is what the schema makes of an empty file.
    expect(configFileSchema.parse(nest(defaults))).toEqual(configFileSchema.parse({}));
  });

  test('are all in the example, with their defaults', () => {
    const text = readFileSync(path.join(root, 'duragent.yaml'), 'utf8');
    const example = readYaml(text, 'duragent.yaml', configFileSchema);
    if (!example.ok) throw new Error(JSON.stringify(example.faults));
    const missing = Object.keys(defaults).filter((key) => example.at(key.split('.'), '') === null);
    expect(missing).toEqual([]);
    expect(example.value).toEqual(configFileSchema.parse(nest({ ...defaults, ...ownValues })));
  });

  const rows = readTables(readFileSync(path.join(root, 'docs/configuration.md'), 'utf8')).get(
    'Keys',
  );

  test('are all in docs/configuration.md, in the same order, with their defaults', () => {
    const documented = rows?.map((row) => {
      const [text = ''] = codeWords(row['default']);
      const isText = !/^(null|true|false|\d+|\[\]|\{\})$/.test(text);
      return [keyOf(row), isText ? text : (JSON.parse(text) as unknown)];
    });
    expect(documented).toEqual(Object.entries(defaults));
  });

  test('are marked there when they have no effect', () => {
    const marked = rows?.filter((row) => row['effect'] === 'later').map((row) => keyOf(row));
    const idle = Object.keys(defaults).filter((key) =>
      keysWithoutEffect.some((one) => key === one || key.startsWith(`${one}.`)),
    );
    expect(marked).toEqual(idle);
  });
});

function keyOf(row: Readonly<Record<string, string>>): string | undefined {
  return codeWords(row['key'])[0];
}

/** As much of a zod schema as is looked at. */
interface Schema {
  def: { type: string; innerType?: unknown; in?: unknown; out?: unknown; defaultValue?: unknown };
  shape?: Readonly<Record<string, Schema>>;
}

/** The value of a key that is left out, before any transformation: what one would write. */
function writtenDefaults(schema: Schema): unknown {
  const { def, shape } = schema;
  if (shape !== undefined) {
    return Object.fromEntries(
      Object.entries(shape).map(([key, value]) => [key, writtenDefaults(value)]),
    );
  }
  const inner = def.innerType as Schema | undefined;
  switch (def.type) {
    case 'default':
      return def.defaultValue;
    case 'prefault': {
      const section = sectionOf(inner);
      return section === undefined ? def.defaultValue : writtenDefaults(section);
    }
    default:
      throw new Error(`a key without a default: ${def.type}`);
  }
}

/** The map behind a section, which is read as all its defaults when it is empty. */
function sectionOf(schema: Schema | undefined): Schema | undefined {
  if (schema?.def.type !== 'pipe') return undefined;
  const out = schema.def.out as Schema;
  return out.shape === undefined ? undefined : out;
}

/** The values of maps within maps, by their dotted keys. Empty maps and lists are values. */
function flatten(value: unknown, prefix = ''): Record<string, unknown> {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap || (Object.keys(value).length === 0 && prefix !== '')) return { [prefix]: value };
  const parts = Object.entries(value).map(([key, below]) =>
    flatten(below, prefix === '' ? key : `${prefix}.${key}`),
  );
  return Object.assign({}, ...parts) as Record<string, unknown>;
}

function nest(flat: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [dotted, value] of Object.entries(flat)) {
    const keys = dotted.split('.');
    const last = keys.pop() ?? '';
    let at = whole;
    for (const key of keys) at = (at[key] ??= {}) as Record<string, unknown>;
    at[last] = value;
  }
  return whole;
}
