import { expect, it } from 'vitest';
import { documentOf } from './agent-document.ts';
import { agentDocumentSchema, agentFromDocument, modelsOf } from '../core/agent-spec.ts';

const written = {
  apiVersion: 'duragent/v1alpha1',
  kind: 'Agent',
  metadata: { name: 'a', description: 'd', version: '2', labels: { team: 'x' } },
  spec: {
    model: {
      provider: 'openai',
      name: 'gpt-5',
      temperature: 0.5,
      max_input_tokens: 9,
      fallback: [{ provider: 'ollama', name: 'llama3', base_url: 'http://localhost:1/v1' }],
    },
    soul: 'S',
    system_prompt: 'P',
    instructions: 'I',
    greeting: 'hi',
    session: {
      on_disconnect: 'pause',
      max_background_runtime: '90s',
      max_tool_iterations: 7,
      turn_timeout: '5m',
      context: {
        max_history_tokens: 10,
        max_tool_result_tokens: 11,
        tool_result_truncation: 'both',
        tool_result_keep_first: 1,
        tool_result_keep_last: 3,
        summarize: false,
      },
    },
    budget: { session_usd: 1, day_usd: 2, sender_day_usd: 0.5 },
    access: {
      owners: ['telegram:1'],
      approvers: ['owner', 'requester'],
      dm: { policy: 'allowlist', allowlist: ['telegram:*'] },
      groups: {
        policy: 'open',
        allowlist: ['telegram:-1'],
        sender_default: 'passive',
        sender_overrides: { 'telegram:9': 'block' },
        activation: 'always',
        context_buffer: { form: 'history', max_messages: 5, max_age_hours: 1.5 },
      },
      queue: {
        mode: 'batch',
        max_pending: 3,
        overflow: 'reject',
        reject_message: 'later',
        debounce: { enabled: false, window_ms: 10 },
      },
    },
    tools: [
      { type: 'builtin', name: 'bash', on_interrupt: 'ask' },
      { type: 'builtin', name: 'web' },
      {
        type: 'cli',
        name: 'git',
        command: './git.sh',
        description: 'g',
        effect: 'pure',
        on_interrupt: 'tell_model',
      },
      { type: 'cli', name: 'gh', command: './gh.sh', readme: './gh.md' },
      {
        type: 'mcp',
        name: 'here',
        command: ['npx', 'server'],
        trusted: true,
        on_interrupt: 'retry',
      },
      { type: 'mcp', name: 'there', url: 'https://mcp.example.com' },
    ],
  },
};

function read(text: unknown) {
  const document = agentDocumentSchema(text).parse(text);
  const { soul, system_prompt, instructions } = document.spec;
  return agentFromDocument(document, {
    home: '/agents/a',
    hash: 'h',
    texts: {
      soul: soul ?? '',
      system_prompt: system_prompt ?? '',
      instructions: instructions ?? '',
    },
    models: modelsOf(document.spec),
    directives: '',
    skills: [],
  });
}

it('says the same agent again, whatever was written of it', () => {
  const smallest = { ...written, metadata: { name: 'a' }, spec: { model: 'echo' } };
  for (const text of [written, smallest]) {
    const agent = read(text);
    expect(read(documentOf(agent))).toEqual(agent);
  }
});

it('names a script as its agent does, not where it lies', () => {
  const agent = read(written);
  const [model] = agent.models;
  const script = { ...model, provider: 'script' as const, name: '/agents/a/plays/one.yaml' };
  const document = documentOf({ ...agent, models: [script] });
  expect(document).toMatchObject({ spec: { model: { name: './plays/one.yaml', fallback: [] } } });
  expect(JSON.stringify(document)).not.toContain('/agents/a');
});
