import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePlainCommand } from './plain-command.ts';

const folder = path.join(import.meta.dirname, '../../../../../test/fixtures/policy');

/** Every command of the data files. */
const written = ['verdicts.jsonl', 'bypasses.jsonl', 'denied.jsonl'].flatMap((file) =>
  readFileSync(path.join(folder, file), 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => (JSON.parse(line) as { command?: string }).command ?? []),
);

/**
 * What bash makes of commands: their argument lists, and whether it found no program, rather than
 * doing something itself. It runs where there are no programs, and its own that have one are off.
 */
function askBash(commands: readonly string[]): string[][] {
  const script = [
    'PATH=/nonexistent',
    'enable -n echo printf test kill true false pwd',
    // Called for what is no program: the only way to see the words that would be handed over.
    'command_not_found_handle() { builtin echo -n "$# "; for word; do show "$word"; done; }',
    'show() { local LC_ALL=C; builtin echo -n "${#1}:$1,"; }',
    'enable echo',
    ...commands.flatMap((command) => [command, 'builtin echo " end"']),
  ].join('\n');
  const { stdout, stderr, status } = spawnSync('bash', ['--noprofile', '--norc', '-c', script], {
    env: { PATH: process.env['PATH'], HOME: '/home/of/nobody', LANG: 'C.UTF-8' },
    encoding: 'buffer',
    timeout: 20_000,
  });
  expect([status, stderr.toString()]).toEqual([0, '']);
  return readWords(stdout);
}

function readWords(bytes: Buffer): string[][] {
  const lists: string[][] = [];
  let at = 0;
  const number = (until: string): number => {
    const end = bytes.indexOf(until, at);
    const found = Number(bytes.toString('utf8', at, end));
    expect(found).toBeGreaterThanOrEqual(0);
    at = end + 1;
    return found;
  };
  while (at < bytes.length) {
    const words: string[] = [];
    for (let left = number(' '); left > 0; left -= 1) {
      const length = number(':');
      words.push(bytes.toString('utf8', at, at + length));
      at += length;
      expect(bytes.toString('utf8', at, at + 1)).toBe(',');
      at += 1;
    }
    expect(bytes.toString('utf8', at, at + 5)).toBe(' end\n');
    at += 5;
    lists.push(words);
  }
  return lists;
}

/** The argument lists of those that are plain, with a program that is not looked for by its path. */
function plainOnes(commands: readonly string[]): { command: string; argv: string[] }[] {
  return commands.flatMap((command) => {
    const plain = parsePlainCommand(command);
    if ('reason' in plain) return [];
    // A path is tried as it is, and a builtin is run: nothing is told of them.
    return plain.argv[0].includes('/') ||
      /^(?:\[|echo|false|kill|printf|pwd|test|true)$/.test(plain.argv[0])
      ? [{ command: `x ${command}`, argv: ['x', ...plain.argv] }]
      : [{ command, argv: plain.argv }];
  });
}

function compare(commands: readonly string[]): number {
  const plain = plainOnes(commands);
  if (plain.length === 0) return 0;
  expect(askBash(plain.map(({ command }) => command))).toEqual(plain.map(({ argv }) => argv));
  return plain.length;
}

describe('a command that is called plain', () => {
  test('is the same argument list to bash: those of the data files', () => {
    expect(compare(written)).toBeGreaterThan(150);
  });

  const near = `ab01*?[]{}$\`'"\\;&|<>()!~#^%=,.:/@+-_ \t\n\u00e4\u20ac\u{1f680}`;
  const texts = [
    fc.string({ unit: fc.constantFrom(...Array.from(near)), maxLength: 12 }),
    fc.string({ unit: fc.constantFrom(...Array.from(`ab '"\\~=:^#%!`)), maxLength: 16 }),
    fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => `x ${text}`),
    fc.string({ unit: 'binary', maxLength: 8 }).map((text) => `x a${text}`),
  ];

  test.each(texts.map((text, index) => [index, text] as const))(
    'is the same argument list to bash: any text (%i)',
    (_, text) => {
      let plain = 0;
      fc.assert(
        fc.property(fc.array(text, { minLength: 100, maxLength: 100 }), (commands) => {
          plain += compare(commands);
        }),
        { numRuns: 40 },
      );
      expect(plain).toBeGreaterThan(100);
    },
  );

  test('is no command of the shell', () => {
    const { stdout } = spawnSync('bash', ['--noprofile', '--norc', '-c', 'compgen -bk'], {
      encoding: 'utf8',
    });
    const names = stdout.trim().split('\n');
    expect(names.length).toBeGreaterThan(70);
    const plain = names.filter((name) => 'argv' in parsePlainCommand(`'${name}' x`));
    // These are programs as well, and do the same.
    expect(plain.toSorted()).toEqual([
      '[',
      'echo',
      'false',
      'kill',
      'printf',
      'pwd',
      'test',
      'true',
    ]);
  });
});
