import { describe, expect, test } from 'vitest';
import { policyFileSchema } from './policy-file.ts';

function faultsOf(value: unknown): string[] {
  const read = policyFileSchema.safeParse(value);
  return read.success
    ? []
    : read.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('a policy', () => {
  test.each([[null], [undefined], [{}], [{ mode: null, deny: null, allow: null, notify: null }]])(
    'may say nothing: %j',
    (value) => {
      expect(policyFileSchema.parse(value)).toEqual({
        mode: null,
        deny: [],
        allow: [],
        notify: [],
      });
    },
  );

  test.each(['dangerous', 'ask', 'restrict'])('may have the mode %s', (mode) => {
    expect(policyFileSchema.parse({ mode }).mode).toBe(mode);
  });

  test.each([
    'bash:git status',
    'bash:*',
    'bash:echo \'a;b\' "c d" e\\ f *',
    'builtin:web:fetch',
    'cli:deploy*',
    'mcp:github:*',
    '*:*secret*',
    '*:a | b',
  ])('may have the rule %s in every list', (rule) => {
    expect(faultsOf({ deny: [rule], allow: [rule], notify: [rule] })).toEqual([]);
  });

  test.each([
    ['bash:ls | sh', 'there is an operator at character 4'],
    ['bash:a; b', 'there is an operator at character 2'],
    ['bash:echo $HOME', 'there is a substitution at character 6'],
    ['bash:ls a?', 'there is a glob at character 5'],
    ["bash:echo 'a", 'there is a quote that does not end at character 6'],
    ['bash:A=1 b', 'it begins with an assignment'],
    ['bash:cd *', '"cd" is carried out by the shell itself'],
    ["bash:'' a", 'its program has no name'],
  ])('has no rule that allows what is no plain command: %s', (rule, fault) => {
    const hint = 'a rule that allows names one plain command, with what is special in quotes';
    expect(faultsOf({ allow: [rule] })).toEqual([`allow.0: ${fault}; ${hint}`]);
    expect(faultsOf({ deny: [rule], notify: [rule] })).toEqual([]);
  });

  test.each([
    ['git status', 'a rule begins with bash:, builtin:, cli:, mcp: or *:'],
    ['web:fetch', 'a rule begins with bash:, builtin:, cli:, mcp: or *:'],
    ['Bash:ls', 'a rule begins with bash:, builtin:, cli:, mcp: or *:'],
    ['*', 'a rule begins with bash:, builtin:, cli:, mcp: or *:'],
    ['', 'a rule begins with bash:, builtin:, cli:, mcp: or *:'],
    ['cli:', '"cli:" names nothing; write "cli:*" for all of it'],
    ['bash: ls', 'there is a space too many; remove it'],
    ['cli:a ', 'there is a space too many; remove it'],
    [`cli:${'x'.repeat(497)}`, 'a rule has at most 500 characters; shorten it with *'],
    [
      5,
      'a rule is text such as "bash:git status"; write it in quotes, without a space behind the colon',
    ],
    [
      { bash: 'ls' },
      'a rule is text such as "bash:git status"; write it in quotes, without a space behind the colon',
    ],
  ])('has no rule such as %j', (rule, fault) => {
    for (const list of ['deny', 'allow', 'notify']) {
      expect(faultsOf({ [list]: ['cli:x', rule] })).toEqual([`${list}.1: ${fault}`]);
    }
  });

  test('has no tool with a space in its name', () => {
    expect(faultsOf({ allow: ['mcp:a b'] })).toEqual([
      'allow.0: the name of a tool has no spaces; remove them',
    ]);
  });

  test('has at most 1000 rules in a list', () => {
    expect(faultsOf({ allow: Array(1000).fill('cli:x') })).toEqual([]);
    expect(faultsOf({ allow: Array(1001).fill('cli:x') })).toHaveLength(1);
  });

  test.each([{ modus: 'ask' }, { mode: 'all' }, { mode: 5 }, { allow: 'bash:ls' }, [], 'ask'])(
    'is not %j',
    (value) => {
      expect(faultsOf(value)).toHaveLength(1);
    },
  );
});
