import { describe, expect, it } from 'vitest';
import { defaultAccess } from './agent-access.ts';
import { agentDocumentSchema, agentFromDocument, modelsOf } from './agent-spec.ts';

const long = (spec: object, metadata: object = { name: 'a' }) => ({
  apiVersion: 'duragent/v1alpha1',
  kind: 'Agent',
  metadata,
  spec,
});
const parse = (written: unknown) => agentDocumentSchema(written).parse(written);

function issuesOf(written: unknown): string[] {
  const result = agentDocumentSchema(written).safeParse(written);
  return (result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('the two forms', () => {
  it('say the same', () => {
    const spec = {
      model: { provider: 'openai', name: 'gpt-5', fallback: ['ollama/llama3'] },
      soul: 'S',
      greeting: 'hi',
      session: { on_disconnect: 'pause', turn_timeout: '5m' },
      access: { queue: { mode: 'sequential' } },
    };
    const metadata = { name: 'a', description: 'd', version: '2', labels: { team: 'x' } };
    const longForm = parse(long({ ...spec, tools: [{ type: 'builtin', name: 'bash' }] }, metadata));
    const shortForm = parse({ ...metadata, ...spec, tools: { builtin: ['bash'] } });
    expect(longForm.form).toBe('long');
    expect(shortForm).toEqual({ ...longForm, form: 'short' });
  });

  it('become an agent', () => {
    const document = parse({
      name: 'a',
      model: 'openrouter/anthropic/claude-sonnet-4',
      session: {
        turn_timeout: '5m',
        max_background_runtime: '2m',
        context: { max_history_tokens: 10 },
      },
      access: { queue: { mode: 'steer' } },
    });
    const texts = { soul: 's', system_prompt: 'p', instructions: 'i' };
    const models = modelsOf(document.spec);
    const skills = [{ name: 'pdf', description: 'd', dir: '/a/skills/pdf' }];
    const files = { home: '/a', hash: 'h', texts, models, directives: 'd', skills };
    expect(agentFromDocument(document, files)).toEqual({
      name: 'a',
      description: '',
      version: '1.0.0',
      labels: {},
      hash: 'h',
      home: '/a',
      models: [
        {
          provider: 'openrouter',
          name: 'anthropic/claude-sonnet-4',
          baseUrl: null,
          temperature: null,
          maxInputTokens: null,
          maxOutputTokens: 4096,
        },
      ],
      soul: 's',
      systemPrompt: 'p',
      instructions: 'i',
      directives: 'd',
      greeting: null,
      session: {
        onDisconnect: null,
        maxBackgroundMs: 120_000,
        maxToolIterations: 100,
        turnTimeoutMs: 300_000,
        maxHistoryTokens: 10,
        maxToolResultTokens: 8000,
        toolResultTruncation: 'head',
        toolResultKeepFirst: 2,
        toolResultKeepLast: 5,
        summarize: true,
      },
      budget: { sessionUsd: null, dayUsd: null, senderDayUsd: null },
      access: { ...defaultAccess, queue: { ...defaultAccess.queue, mode: 'steer' } },
      tools: [],
      skills,
    });
  });
});

it('takes every key of the documented definition', () => {
  const spec = {
    model: {
      provider: 'openrouter',
      name: 'anthropic/claude-sonnet-4',
      base_url: null,
      temperature: null,
      max_input_tokens: null,
      max_output_tokens: 4096,
      fallback: [{ provider: 'openai', name: 'gpt-5' }],
    },
    soul: './SOUL.md',
    system_prompt: './SYSTEM_PROMPT.md',
    instructions: './INSTRUCTIONS.md',
    greeting: null,
    session: {
      on_disconnect: 'pause',
      max_background_runtime: '30m',
      max_tool_iterations: 100,
      turn_timeout: null,
      ttl_hours: null,
      compaction: 'archive',
      context: {
        max_history_tokens: 20000,
        max_tool_result_tokens: 8000,
        tool_result_truncation: 'head',
        tool_result_keep_first: 2,
        tool_result_keep_last: 5,
        summarize: true,
      },
    },
    budget: { session_usd: null, day_usd: 5, sender_day_usd: null },
    access: {
      owners: ['telegram:123'],
      approvers: ['owner', 'requester'],
      dm: { policy: 'pairing', allowlist: ['telegram:123'] },
      groups: {
        policy: 'allowlist',
        allowlist: ['telegram:-100123', 'discord:*'],
        sender_default: 'allow',
        sender_overrides: { 'telegram:99999': 'block', 'slack:*': 'passive' },
        activation: 'mention',
        context_buffer: { form: 'block', max_messages: 100, max_age_hours: 24 },
      },
      queue: {
        mode: 'steer',
        max_pending: 10,
        overflow: 'drop_old',
        reject_message: '',
        debounce: { enabled: true, window_ms: 1500 },
      },
    },
    memory: { backend: 'filesystem' },
    tools: [
      { type: 'builtin', name: 'bash' },
      {
        type: 'cli',
        name: 'git-helper',
        command: './tools/git-helper/run.sh',
        description: '',
        readme: './tools/git-helper/README.md',
        effect: 'effectful',
      },
      { type: 'mcp', name: 'github', command: ['npx', 'github-mcp'], trusted: false },
      { type: 'mcp', name: 'docs', url: 'https://mcp.example.com' },
    ],
    skills_dir: './skills',
  };
  expect(issuesOf(long(spec))).toEqual([]);
});

it('takes what becomes of calls that are cut, where that can be', () => {
  const tools = [
    { type: 'builtin', name: 'bash', on_interrupt: 'ask' },
    { type: 'builtin', name: 'web', on_interrupt: 'retry' },
    { type: 'cli', name: 'x', command: './x', effect: 'idempotent', on_interrupt: 'retry' },
    { type: 'cli', name: 'y', command: './y', on_interrupt: 'tell_model' },
    {
      type: 'mcp',
      name: 'z',
      url: 'https://mcp.example.com',
      trusted: true,
      on_interrupt: 'retry',
    },
  ];
  expect(issuesOf(long({ model: 'echo', tools }))).toEqual([]);
});

describe('what does not fit', () => {
  const model = 'echo';
  type Case = [what: string, written: unknown, issue: RegExp];
  const cases: Case[] = [
    ['a bad name', { name: 'My_Agent', model }, /^name: a name is 1 to 63/],
    ['no model', { name: 'a' }, /^model: /],
    [
      'no model of a provider',
      { name: 'a', model: 'openai' },
      /^model\.name: .*openai needs a name/,
    ],
    ['a model of auto', { name: 'a', model: 'auto/x' }, /^model\.name: "auto" finds the model/],
    ['an unknown provider', { name: 'a', model: 'opnai/x' }, /^model\.provider: /],
    [
      'a compatible server without its address',
      { name: 'a', model: { provider: 'openai-compatible', name: 'x' } },
      /^model\.base_url: .*needs the base_url/,
    ],
    [
      'an address that is no URL',
      { name: 'a', model: { provider: 'openai', name: 'x', base_url: 'localhost:1' } },
      /^model\.base_url: expected an http\(s\) URL/,
    ],
    [
      'a fallback of a fallback',
      { name: 'a', model: { provider: 'echo', fallback: [{ provider: 'echo', fallback: [] }] } },
      /^model\.fallback\.0: /,
    ],
    [
      'a queue mode of none',
      { name: 'a', model, access: { queue: { mode: 'x' } } },
      /^access\.queue\.mode: /,
    ],
    [
      'a sender by name',
      { name: 'a', model, access: { owners: ['bob'] } },
      /^access\.owners\.0: expected <gateway>/,
    ],
    [
      'a memory elsewhere',
      { name: 'a', model, memory: { backend: 'x' } },
      /^memory\.backend: this version/,
    ],
    [
      'another version',
      { ...long({ model }), apiVersion: 'duragent/v2' },
      /^apiVersion: this version reads/,
    ],
    ['an unknown key', { name: 'a', model, sole: 'x' }, /^: Unrecognized key: "sole"/],
    [
      'a server with a command and a url',
      long({ model, tools: [{ type: 'mcp', name: 'x', command: ['x'], url: 'https://y' }] }),
      /^spec\.tools\.0: an MCP server has either/,
    ],
    [
      'a server at what is no address of the web',
      long({ model, tools: [{ type: 'mcp', name: 'x', url: 'ftp://x' }] }),
      /^spec\.tools\.0\.url: expected an http\(s\) URL/,
    ],
    ...[
      { type: 'builtin', name: 'bash' },
      { type: 'cli', name: 'x', command: './x', effect: 'effectful' },
      { type: 'cli', name: 'x', command: './x' },
      { type: 'mcp', name: 'x', url: 'https://mcp.example.com' },
    ].map((tool): Case => [
      `what has an effect and is to be repeated: ${tool.name}`,
      long({
        model,
        tools: [
          { type: 'builtin', name: 'web' },
          { ...tool, on_interrupt: 'retry' },
        ],
      }),
      /^spec\.tools\.1\.on_interrupt: "retry" is for pure or idempotent tools only/,
    ]),
    [
      'a question that is to be asked about',
      long({ model, tools: [{ type: 'builtin', name: 'ask_user', on_interrupt: 'ask' }] }),
      /^spec\.tools\.0\.on_interrupt: ask_user is never cut/,
    ],
    [
      'an interruption of no kind',
      long({ model, tools: [{ type: 'builtin', name: 'bash', on_interrupt: 'again' }] }),
      /^spec\.tools\.0\.on_interrupt: /,
    ],
    ['a version that is a number', { name: 'a', version: 1.1, model }, /^version: /],
  ];
  it.each(cases)('%s', (_, written, issue) => {
    const issues = issuesOf(written);
    expect(issues).toHaveLength(1);
    expect(issues[0]).toMatch(issue);
  });
});
