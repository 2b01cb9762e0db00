import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configFileSchema, oldNames } from './config-schema.ts';
import { readYaml, type YamlOptions } from './yaml-file.ts';

const anything = z.unknown();

function faultsOf(text: string, schema: z.ZodType = configFileSchema, options?: YamlOptions) {
  const reading = readYaml(text, 'f.yaml', schema, options);
  if (reading.ok) return [];
  return reading.faults.map(({ line, column, message }) => `${line}:${column}: ${message}`);
}

function valueOf(text: string, schema: z.ZodType = anything, options?: YamlOptions): unknown {
  const reading = readYaml(text, 'f.yaml', schema, options);
  return reading.ok ? reading.value : reading.faults;
}

const levels = (count: number): string => '['.repeat(count) + ']'.repeat(count);
const blockLevels = (count: number): string =>
  Array.from({ length: count }, (_, level) => `${' '.repeat(level)}k:`).join('\n');
const laughs = [
  'a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]',
  ...Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${`*a${n}, `.repeat(5)}]`),
].join('\n');

describe('a document that is refused names the place', () => {
  const cases: [what: string, text: string, faults: string[]][] = [
    ['32 levels and one', levels(33), ['1:33: nested more than 32 levels deep; flatten it']],
    [
      '33 levels of blocks',
      blockLevels(34),
      ['33:34: nested more than 32 levels deep; flatten it'],
    ],
    ['100,000 levels', '['.repeat(100_000), ['1:33: nested more than 32 levels deep; flatten it']],
    [
      '60,000 open maps',
      '{a: '.repeat(60_000),
      ['1:129: nested more than 32 levels deep; flatten it'],
    ],
    [
      '100,000 levels of one line',
      '- '.repeat(100_000),
      ['1:65: nested more than 32 levels deep; flatten it'],
    ],
    [
      '257 KiB',
      `a: ${'x'.repeat(257 * 1024)}`,
      ['1:1: the file is larger than 256 KiB; make it smaller'],
    ],
    [
      '51 aliases',
      `a: &a 1\nb: [${'*a, '.repeat(51)}]`,
      ['2:205: more than 50 aliases; write the values out'],
    ],
    ['a billion laughs', laughs, ['2:15: more than 50 aliases; write the values out']],
    ['an anchor in itself', 'a: &a [*a]', ['1:8: more than 50 aliases; write the values out']],
    ['an alias of nothing', 'a: *b', ['1:4: there is no anchor &b before this']],
    ['a custom tag', 'a: !env X', ['1:9: the tag !env is not allowed; write the plain value']],
    [
      'a tag of YAML that makes no plain value',
      'a: !!binary aGk=',
      ['1:13: the tag tag:yaml.org,2002:binary is not allowed; write the plain value'],
    ],
    [
      'a tag by another prefix',
      '%TAG ! tag:x,2000:\n---\na: !y 1',
      ['3:7: the tag tag:x,2000:y is not allowed; write the plain value'],
    ],
    ['a tab as indentation', 'a:\n\tb: 1', ['2:1: Tabs are not allowed as indentation']],
    [
      'a key twice',
      'a:\n  b: 1\n  c: 2\n  b: 3',
      ['4:3: the key "b" is here twice; remove one of them'],
    ],
    ['a list as a key', '? [a]\n: b', ['1:3: this cannot be a key; a key is plain text']],
    ['__proto__', '__proto__: {a: 1}', ['1:1: this cannot be a key; a key is plain text']],
    [
      'an older YAML',
      '%YAML 1.1\n---\na: yes',
      ['1:1: this file is read as YAML 1.2; remove the line %YAML'],
    ],
    [
      'two documents',
      'a: 1\n---\nb: 2',
      ['2:1: a second document begins here; one file holds one'],
    ],
    [
      'a variable in a flow without quotes',
      'a: { b: ${TOKEN} }',
      ['1:10: Unexpected flow-map-start at node end; inside { } and [ ] write "${NAME}" in quotes'],
    ],
  ];
  it.each(cases)('%s', (_, text, faults) => {
    const found = faultsOf(text, anything);
    expect(found).toEqual(faults);
  });

  it('takes what is just within the bounds', () => {
    expect(faultsOf(levels(32), anything)).toEqual([]);
    expect(faultsOf(blockLevels(32), anything)).toEqual([]);
    expect(faultsOf(`a: &a 1\nb: [${'*a, '.repeat(50)}]`, anything)).toEqual([]);
    expect(faultsOf(`a: ${'x'.repeat(256 * 1024 - 3)}`, anything)).toEqual([]);
  });

  it('reads many keys in time that grows with their number only', () => {
    const text = Array.from({ length: 30_000 }, (_, n) => `k${n}:`).join('\n');
    const started = performance.now();
    expect(faultsOf(text, anything)).toEqual([]);
    // Comparing each key with each other takes far longer.
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('does not repeat what it stumbled over, which may be a secret', () => {
    const found = faultsOf('a: {b: 1}canary-5f1c"\n}canary-5f1c', anything).join();
    expect(found).not.toBe('');
    expect(found).not.toContain('canary-5f1c');
  });
});

describe('a value that does not fit the schema', () => {
  const cases: [text: string, faults: string[]][] = [
    ['prot: 1', ['1:1: unknown key "prot"']],
    ['port: 1', ['1:1: unknown key "port"; did you mean "server.port"?']],
    ['server:\n  prot: 1', ['2:3: unknown key "prot"; did you mean "port"?']],
    [
      'server:\n  maxConnections: 1',
      ['2:3: unknown key "maxConnections"; did you mean "max_connections"?'],
    ],
    ['gateways:\n  http:\n    enable: no', ['3:5: unknown key "enable"; did you mean "enabled"?']],
    [
      'routes:\n  - match: { gatway: x }\n    agent: a',
      ['2:14: unknown key "gatway"; did you mean "gateway"?'],
    ],
    [
      'gateways:\n  external:\n    - name: tg\n      comand: x',
      [
        '3:7: gateways.external.0.command is missing',
        '4:7: unknown key "comand"; did you mean "command"?',
      ],
    ],
    ['server: { port: "80" }', ['1:17: server.port: expected a port from 0 to 65535']],
    ['server: { port: 65536 }', ['1:17: server.port: expected a port from 0 to 65535']],
    ['server: { port: 80.5 }', ['1:17: server.port: expected a port from 0 to 65535']],
    ['server: { hosts: a }', ['1:18: server.hosts: expected a list, found text']],
    ['server: []', ['1:9: server: expected a map of keys, found a list']],
    [
      'server: { api_token: short }',
      ['1:22: server.api_token: a token has at least 16 characters'],
    ],
    [
      'server: { api_token: 12345678901234567 }',
      ['1:22: server.api_token: expected text, found a number; write it in quotes'],
    ],
    ['allow_network_fs: yes', ['1:19: allow_network_fs: expected true or false, found text']],
    [
      'session: { on_disconnect: stop }',
      ['1:27: session.on_disconnect: expected "continue" or "pause"'],
    ],
    [
      'session: { output_buffer_size: 0 }',
      ['1:32: session.output_buffer_size: must be at least 1'],
    ],
    [
      'approvals: { timeout: 10 }',
      ['1:23: approvals.timeout: expected a duration such as 30s, 15m, 2h or 7d'],
    ],
    [
      'approvals: { timeout: 10 min }',
      ['1:23: approvals.timeout: expected a duration such as 30s, 15m, 2h or 7d'],
    ],
    ['budget: { day_usd: -1 }', ['1:20: budget.day_usd: must be at least 0']],
    [
      'timezone: Mars/Olympus',
      ['1:11: timezone: expected an IANA time zone, such as Europe/Berlin or UTC'],
    ],
    [
      'services: { session: { backend: postgres } }',
      [
        '1:33: services.session.backend: this version keeps everything in files; write "filesystem"',
      ],
    ],
    ['- a', ['1:1: the file: expected a map of keys, found a list']],
    ['hello', ['1:1: the file: expected a map of keys, found text']],
  ];
  it.each(cases)('%j', (text, faults) => {
    expect(faultsOf(text)).toEqual(faults);
  });

  it('is reported with all the others, in the order of the file', () => {
    const text = 'prot: 1\nserver:\n  port: x\nlogs:\n  level: loud\n  fle: true\nserver: 1\n';
    expect(faultsOf(text).map((fault) => fault.split(': ')[0])).toEqual([
      '1:1',
      '3:9',
      '5:10',
      '6:3',
      '7:1',
    ]);
  });
});

describe('an empty section', () => {
  it('is all defaults', () => {
    const reading = readYaml('server:\n  # port: 1\nlogs: {}\n', 'f.yaml', configFileSchema);
    expect(reading).toMatchObject({ ok: true, value: { server: { port: 8080 } } });
    expect(readYaml('# nothing\n', 'f.yaml', configFileSchema).ok).toBe(true);
  });
});

describe('a variable', () => {
  const env = {
    NAME: 'x',
    PORT: '9090',
    EMPTY: '',
    ON: 'true',
    TOKEN: '1234567890123456',
    D: '$$ ${NAME}',
  };
  const values: [text: string, value: unknown][] = [
    ['a: ${NAME}', 'x'],
    ['a: "${NAME}-${PORT}"', 'x-9090'],
    ['a: ${NOPE:-y}', 'y'],
    ['a: ${NOPE:-}', ''],
    ['a: ${EMPTY:-y}', 'y'],
    ['a: ${EMPTY}', ''],
    ['a: ${NOPE:-a:b-c}', 'a:b-c'],
    ['a: $$NAME $NAME $', '$NAME $NAME $'],
    ['a: $${NAME}', '${NAME}'],
    ['a: ${D}', '$$ ${NAME}'],
    ['a: |\n  ${NAME}\n', 'x\n'],
    ["a: '${NAME}'", 'x'],
  ];
  it.each(values)('%j', (text, value) => {
    expect(valueOf(text, anything, { env })).toEqual({ a: value });
  });

  it('is left alone where the file has none', () => {
    expect(valueOf('a: ${NAME} $$')).toEqual({ a: '${NAME} $$' });
  });

  it('becomes a number, a switch or nothing where the key wants that', () => {
    const text = [
      'server:',
      '  port: ${PORT}',
      '  port_strict: "${ON}"',
      '  public_url: ${EMPTY}',
      '  api_token: ${TOKEN}',
    ].join('\n');
    expect(valueOf(text, configFileSchema, { env })).toMatchObject({
      server: { port: 9090, port_strict: true, public_url: null, api_token: '1234567890123456' },
    });
  });

  const faults: [text: string, faults: string[]][] = [
    [
      'server:\n  api_token: ${NOPE}',
      ['2:14: the variable NOPE is not set; set it, or write ${NOPE:-default}'],
    ],
    [
      'server:\n  public_url: "https://${NAME}/${NOPE}"',
      ['2:32: the variable NOPE is not set; set it, or write ${NOPE:-default}'],
    ],
    [
      'data_dir: ${A}/${A}',
      [
        '1:11: the variable A is not set; set it, or write ${A:-default}',
        '1:16: the variable A is not set; set it, or write ${A:-default}',
      ],
    ],
    ['data_dir: ${1}', ['1:11: write ${NAME} or ${NAME:-default}, and $$ for a dollar sign']],
    ['data_dir: x${NAME', ['1:12: write ${NAME} or ${NAME:-default}, and $$ for a dollar sign']],
    ['server:\n  port: ${NAME}', ['2:9: server.port: expected a port from 0 to 65535']],
    [
      'server:\n  port: ${NOPE}',
      ['2:9: the variable NOPE is not set; set it, or write ${NOPE:-default}'],
    ],
  ];
  it.each(faults)('%j is refused', (text, expected) => {
    expect(faultsOf(text, configFileSchema, { env })).toEqual(expected);
  });
});

describe('an old name', () => {
  it.each([
    ['server:\n  admin_token: 0123456789abcdef', { admin: { token: '0123456789abcdef' } }, '2:3'],
    ['services:\n  artifact: { path: a }', { services: { artifacts: { path: 'a' } } }, '2:3'],
    ['sessions: { ttl_hours: 4 }', { session: { ttl_hours: 4 } }, '1:1'],
    ['agents_dir: a', { agents: { static: { path: 'a' } } }, '1:1'],
    ['agents:\nagents_dir: a', { agents: { static: { path: 'a' } } }, '2:1'],
  ])('%j is read, with a hint', (text, value, place) => {
    const reading = readYaml(text, 'f.yaml', configFileSchema, { renames: oldNames });
    expect(reading).toMatchObject({ ok: true, value });
    if (!reading.ok) return;
    const hints = reading.hints.map(({ line, column }) => `${line}:${column}`);
    expect(hints).toEqual([place]);
    expect(reading.hints[0]?.message).toMatch(/ is read; its name is now /);
  });

  it('points at what was written when it is wrong', () => {
    const faults = faultsOf('server:\n  admin_token: x', configFileSchema, { renames: oldNames });
    expect(faults).toEqual(['2:16: admin.token: a token has at least 16 characters']);
  });

  it('is refused where its current place is no map', () => {
    const text = 'x: &x {}\nadmin: *x\nserver:\n  admin_token: 0123456789abcdef';
    expect(faultsOf(text, configFileSchema, { renames: oldNames })).toContain(
      '4:3: server.admin_token is the old name of admin.token; write that',
    );
  });

  it('is refused beside the current one', () => {
    const faults = faultsOf('session: {}\nsessions: {}', configFileSchema, { renames: oldNames });
    expect(faults).toEqual([
      '2:1: sessions is the old name of session, which is set too; remove it',
    ]);
  });
});

describe('any text', () => {
  const words = ['server', 'admin', 'sessions', 'agents_dir', 'port', 'admin_token', 'a', '1', '~'];
  const signs =
    ': |:|\n|\n  |- |{|}|[|]|, |&a |*a|!x |!!str |"|\'|${A}|${|$$|#|>\n|? |<<|\t|---\n|...\n';
  const pieces = [...words, ...signs.split('|'), '|\n', '%YAML 1.1\n', '\u2028'];
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((some) => some.join('')),
  );

  it('gives a value or faults with places in it, and is never thrown at', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const options = { env: { A: 'x' }, renames: oldNames };
        const reading = readYaml(text, 'f.yaml', configFileSchema, options);
        if (reading.ok) return;
        expect(reading.faults).not.toEqual([]);
        const lines = text.split(/\r\n|[\n\r]/).length;
        for (const { line, column, message } of reading.faults) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(line).toBeLessThanOrEqual(lines + 1);
          expect(column).toBeGreaterThanOrEqual(1);
          expect(message).not.toBe('');
        }
      }),
      { numRuns: 3000 },
    );
  });
});
