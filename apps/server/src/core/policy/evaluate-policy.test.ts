import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluatePolicy } from './evaluate-policy.ts';
import { parsePlainCommand, writePlainCommand } from './plain-command.ts';
import type { PolicyCall } from './policy-call.ts';
import { policyFileSchema, type LoadedPolicy, type Policies } from './policy-file.ts';

function policies(written: Partial<Record<keyof Policies, unknown>>): LoadedPolicy {
  const read = (value: unknown) => (value === undefined ? null : policyFileSchema.parse(value));
  const { workspace, agent, local } = written;
  return { policies: { workspace: read(workspace), agent: read(agent), local: read(local) } };
}

const bash = (command: string): PolicyCall => ({ kind: 'bash', command });
const mcp = (name: string, args: Record<string, unknown> = {}): PolicyCall => ({
  kind: 'mcp',
  server: 'github',
  name,
  args,
});

describe('the reason', () => {
  test.each<[Partial<Record<keyof Policies, unknown>>, string, string]>([
    [
      { workspace: { deny: ['bash:rm *'] } },
      'rm x',
      '"bash:rm *" (deny in policy.yaml of the workspace) denies it',
    ],
    [
      { local: { allow: ['bash:ls'] } },
      'ls',
      '"bash:ls" (allow in policy.local.yaml of the agent) allows it',
    ],
    [{ agent: { mode: 'dangerous' } }, 'ls', 'mode dangerous (policy.yaml of the agent) allows it'],
    [{}, 'ls', 'no rule allows it'],
    [{}, 'ls | sh', 'no rule can allow it: there is an operator at character 4'],
    [{}, 'cd x', 'no rule can allow it: "cd" is carried out by the shell itself'],
    [
      { agent: { mode: 'restrict' } },
      'ls',
      'no rule allows it, and mode restrict (policy.yaml of the agent) asks nobody',
    ],
  ])('%j, %s', (written, command, reason) => {
    expect(evaluatePolicy(policies(written), bash(command)).reason).toBe(reason);
  });
});

describe('deny', () => {
  const remember: PolicyCall = {
    kind: 'builtin',
    name: 'memory',
    action: 'remember',
    args: { text: 'a' },
    harmless: true,
  };
  const spawn: PolicyCall = { kind: 'bash', command: 'ls', tool: 'background_process' };
  test.each<[string, PolicyCall]>([
    ['builtin:memory', remember],
    ['builtin:memory:remember', remember],
    ['builtin:remember', remember],
    ['builtin:background_process', spawn],
    ['builtin:background_*', spawn],
    ['builtin:bash', spawn],
    ['bash:ls', spawn],
    ['builtin:bash', bash('ls')],
  ])('%s stops the tool of this name', (rule, call) => {
    const written = { workspace: { mode: 'dangerous', deny: [rule] } };
    expect(evaluatePolicy(policies(written), call).decision).toBe('deny');
  });

  test('of one tool that runs commands leaves bash alone', () => {
    const written = { workspace: { mode: 'dangerous', deny: ['builtin:background_process'] } };
    expect(evaluatePolicy(policies(written), bash('ls')).decision).toBe('allow');
  });
});

describe('what cannot be judged is denied', () => {
  const dangerous = policies({ workspace: { mode: 'dangerous' } });

  test('a file that does not load denies everything, and names its place', () => {
    const faults = [{ file: '/d/policy.yaml', line: 3, column: 5, message: 'mode: no such' }];
    const harmless: PolicyCall = {
      kind: 'builtin',
      name: 'report_progress',
      action: null,
      args: {},
      harmless: true,
    };
    for (const call of [bash('ls'), mcp('list'), harmless]) {
      expect(evaluatePolicy({ policies: null, faults }, call)).toEqual({
        isFault: true,
        decision: 'deny',
        reason: 'nothing is allowed until /d/policy.yaml:3:5 is mended: mode: no such',
        notify: false,
        always: null,
      });
    }
    expect(evaluatePolicy({ policies: null, faults: [] }, bash('ls')).decision).toBe('deny');
  });

  test('an unknown mode', () => {
    const loaded = policies({ workspace: { allow: ['bash:*'] } });
    Object.assign(loaded.policies?.workspace ?? {}, { mode: 'all' });
    expect(evaluatePolicy(loaded, bash('ls'))).toMatchObject({
      decision: 'deny',
      reason: 'the mode "all" is unknown (policy.yaml of the workspace)',
    });
  });

  test.each<[string, unknown]>([
    ['a call of an unknown kind', { kind: 'exec', command: 'ls' }],
    ['a call without a command', { kind: 'bash' }],
    ['a call without arguments', { kind: 'cli', name: 'x' }],
    ['nothing', null],
    ['arguments that hold themselves', mcp('x', circle())],
    ['arguments that are no JSON', mcp('x', { big: 1n })],
    ['arguments nested without end', mcp('x', nested(100_000))],
    ['arguments that are too long', mcp('x', { text: 'x'.repeat(1_048_577) })],
    ['a command that is too long', bash('x'.repeat(131_073))],
  ])('%s', (_, call) => {
    expect(evaluatePolicy(dangerous, call as PolicyCall)).toMatchObject({
      decision: 'deny',
      always: null,
    });
  });

  test('a command in which more is hidden than is looked for', () => {
    const call = bash(`${'sudo -a '.repeat(15_000)} x; ls`);
    expect(evaluatePolicy(dangerous, call).decision).toBe('allow');
    const watched = policies({ workspace: { mode: 'dangerous', deny: ['bash:rm *'] } });
    expect(evaluatePolicy(watched, call)).toMatchObject({
      decision: 'deny',
      reason: 'it holds more commands than can be checked against the rules that deny',
    });
  });
});

function circle(): Record<string, unknown> {
  const args: Record<string, unknown> = {};
  args['self'] = args;
  return args;
}

function nested(levels: number): Record<string, unknown> {
  let args: Record<string, unknown> = {};
  for (let level = 0; level < levels; level += 1) args = { args };
  return args;
}

describe('what "Allow always" stores', () => {
  test.each<[PolicyCall, string | null]>([
    [bash('git status'), 'bash:git status'],
    [bash('  git   "log"  --format=%H '), 'bash:git log --format=%H'],
    [bash("echo '*' a\\ b \"it's\" ''"), `bash:echo '*' 'a b' 'it'\\''s' ''`],
    [bash('git show HEAD~1'), "bash:git show 'HEAD~1'"],
    [bash('ls | head'), null],
    [bash('echo $HOME'), null],
    [bash('cd x'), null],
    [bash(`echo ${'x'.repeat(500)}`), null],
    [mcp('list_issues', { repo: 'a' }), 'mcp:github:list_issues'],
    [mcp('a:b'), 'mcp:github:a:b'],
    [mcp('list*'), null],
    [mcp('a b'), null],
    [mcp('K\u00e4the'), null],
    [{ kind: 'cli', name: 'deploy', args: {} }, 'cli:deploy'],
    [
      { kind: 'builtin', name: 'web', action: 'fetch', args: {}, harmless: false },
      'builtin:web:fetch',
    ],
    [
      { kind: 'builtin', name: 'artifact', action: null, args: {}, harmless: false },
      'builtin:artifact',
    ],
    [
      {
        kind: 'builtin',
        name: 'background_process',
        action: 'write',
        args: { text: 'rm x' },
        harmless: false,
        isInput: true,
      },
      null,
    ],
  ])('of %j', (call, always) => {
    expect(evaluatePolicy(policies({}), call)).toMatchObject({ decision: 'ask', always });
  });

  const word = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.string({
      maxLength: 8,
      unit: fc.constantFrom(...`ab*?[]{}$\`'"\\;&|<>()!~#^%= -/.:@+\u00e4`.split('')),
    }),
  );

  test('allows exactly this argument list', () => {
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 5 }),
        fc.array(word, { minLength: 1, maxLength: 5 }),
        (argv, other) => {
          const command = writePlainCommand(argv);
          if (command === null) return;
          expect(parsePlainCommand(command)).toEqual({ argv });
          const { always } = evaluatePolicy(policies({}), bash(command));
          if (always === null) throw new Error(`nothing is stored for ${command}`);
          const stored = policies({ local: { allow: [always] } });
          expect(evaluatePolicy(stored, bash(command)).decision).toBe('allow');
          for (const [index] of argv.entries()) {
            const changed = [argv.with(index, `${argv[index]}x`), argv.toSpliced(index, 1), other];
            for (const each of changed) {
              const written = writePlainCommand(each);
              if (written === null || JSON.stringify(each) === JSON.stringify(argv)) continue;
              expect(evaluatePolicy(stored, bash(written)).decision).toBe('ask');
            }
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('a plain word can be a word of a rule', () => {
    // Or the property above would hold of nothing.
    expect(writePlainCommand(['echo', `*?[]{}$\`'"\\;&|<>()!~#^%= -`])).not.toBeNull();
  });
});

describe('a verdict', () => {
  const names = [
    'bash:ls',
    'bash:*',
    'bash:rm *',
    'mcp:github:*',
    'mcp:*',
    '*:*',
    '*:*x*',
    'cli:a',
  ];
  const list = fc.subarray(names);
  const file = fc.option(
    fc.record({
      mode: fc.constantFrom('ask', 'restrict', 'dangerous', null),
      deny: list,
      allow: list,
      notify: list,
    }),
    { nil: undefined },
  );
  const call = fc.oneof(
    fc.constantFrom('ls', 'ls x', 'rm x', 'ls; rm x', 'x', 'ls | x').map(bash),
    fc.constantFrom('list', 'x').map((name) => mcp(name)),
  );
  const all = fc.record({ workspace: file, agent: file, local: file });

  test('never gets milder by a rule that denies, nor stricter by one that allows', () => {
    const rank = { allow: 0, ask: 1, deny: 2 };
    const decide = (written: object, one: PolicyCall) =>
      rank[evaluatePolicy(policies(written), one).decision];
    fc.assert(
      fc.property(all, call, fc.constantFrom(...names), (written, one, rule) => {
        const before = decide(written, one);
        const { workspace } = written;
        const deny = [...(workspace?.deny ?? []), rule];
        const allow = [...(workspace?.allow ?? []), rule];
        expect(
          decide({ ...written, workspace: { ...workspace, deny } }, one),
        ).toBeGreaterThanOrEqual(before);
        expect(decide({ ...written, workspace: { ...workspace, allow } }, one)).toBeLessThanOrEqual(
          before,
        );
      }),
    );
  });

  test('offers to store a rule only where a person is asked, and the rule then allows it', () => {
    fc.assert(
      fc.property(all, call, (written, one) => {
        const { decision, always } = evaluatePolicy(policies(written), one);
        if (decision !== 'ask') expect(always).toBeNull();
        if (always === null) return;
        const { local } = written;
        const stored = {
          ...written,
          local: { ...local, allow: [...(local?.allow ?? []), always] },
        };
        expect(evaluatePolicy(policies(stored), one).decision).toBe('allow');
      }),
    );
  });
});
