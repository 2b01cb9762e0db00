import {
  agentNameSchema,
  labelsSchema,
  onDisconnectSchema,
  onInterruptSchema,
} from '@duragent/protocol';
import { z } from 'zod';
import { accessOf, accessSchema } from './agent-access.ts';
import {
  type Agent,
  type AgentTool,
  builtinTools,
  effectfulBuiltins,
  type ModelRef,
} from './agent.ts';
import { limitsOf } from './budget/limits.ts';
import { budgetSchema, durationSchema, section } from './schema-parts.ts';
import type { Skill } from './skills.ts';

/** agent.yaml in whichever form it was written: the long one, with every default filled in. */
export interface AgentDocument {
  form: 'long' | 'short';
  metadata: z.infer<typeof metadataSchema>;
  spec: AgentSpec;
}
export type AgentSpec = z.infer<typeof specSchema>;

/** The schema of agent.yaml for what was written: the long form, or the flat short one. */
export function agentDocumentSchema(written: unknown): z.ZodType<AgentDocument> {
  const keys = typeof written === 'object' && written !== null ? Object.keys(written) : [];
  const long = keys.some((key) => ['apiVersion', 'kind', 'metadata', 'spec'].includes(key));
  return long ? longSchema : shortSchema;
}

/** An agent from its checked document, with its texts read and its paths made absolute. */
export function agentFromDocument(
  document: AgentDocument,
  files: {
    home: string;
    hash: string;
    texts: Record<AgentText, string>;
    models: [ModelRef, ...ModelRef[]];
    directives: string;
    skills: readonly Skill[];
  },
): Agent {
  const { metadata, spec } = document;
  const { context } = spec.session;
  return {
    ...metadata,
    hash: files.hash,
    home: files.home,
    models: files.models,
    soul: files.texts.soul,
    systemPrompt: files.texts.system_prompt,
    instructions: files.texts.instructions,
    directives: files.directives,
    greeting: spec.greeting,
    session: {
      onDisconnect: spec.session.on_disconnect,
      maxBackgroundMs: spec.session.max_background_runtime,
      maxToolIterations: spec.session.max_tool_iterations,
      turnTimeoutMs: spec.session.turn_timeout,
      maxHistoryTokens: context.max_history_tokens,
      maxToolResultTokens: context.max_tool_result_tokens,
      toolResultTruncation: context.tool_result_truncation,
      toolResultKeepFirst: context.tool_result_keep_first,
      toolResultKeepLast: context.tool_result_keep_last,
      summarize: context.summarize,
    },
    budget: limitsOf(spec.budget),
    access: accessOf(spec.access),
    tools: spec.tools.map(toolOf),
    skills: files.skills,
  };
}

function toolOf({ on_interrupt, ...tool }: ToolSpec): AgentTool {
  const interrupt = on_interrupt === undefined ? {} : { onInterrupt: on_interrupt };
  switch (tool.type) {
    case 'builtin':
      return { ...tool, ...interrupt };
    case 'cli':
      return { ...tool, readme: tool.readme ?? null, ...interrupt };
    case 'mcp': {
      const { type, name, trusted, command, url = '' } = tool;
      return { type, name, trusted, server: command ? { command } : { url }, ...interrupt };
    }
  }
}

/** The agent's model, then its fallbacks, as they are written. */
export function modelsOf(spec: AgentSpec): [ModelRef, ...ModelRef[]] {
  return [toModelRef(spec.model), ...spec.model.fallback.map(toModelRef)];
}

/** The three texts of an agent and the files they are read from when the key is absent. */
export const agentTexts = {
  soul: 'SOUL.md',
  system_prompt: 'SYSTEM_PROMPT.md',
  instructions: 'INSTRUCTIONS.md',
} as const;
export type AgentText = keyof typeof agentTexts;

/** Keys of `spec` (with all below them) that are checked and change nothing yet. */
export const agentKeysWithoutEffect: readonly string[] = [
  'session.ttl_hours',
  'session.compaction',
];

const httpUrl = z
  .string()
  .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ''), 'expected an http(s) URL');

const modelFields = {
  provider: z.enum([
    'anthropic',
    'openai',
    'openrouter',
    'ollama',
    'openai-compatible',
    'echo',
    'script',
    'auto',
  ]),
  name: z.string().max(200).default(''),
  base_url: httpUrl.nullable().default(null),
  temperature: z.number().min(0).max(2).nullable().default(null),
  max_input_tokens: z.int().min(1).nullable().default(null),
  max_output_tokens: z.int().min(1).default(4096),
};
const fallbackSchema = z.preprocess(readModel, z.strictObject(modelFields).superRefine(checkModel));
const modelSchema = z.preprocess(
  readModel,
  z
    .strictObject({ ...modelFields, fallback: z.array(fallbackSchema).max(8).default([]) })
    .superRefine(checkModel),
);

const toolName = z
  .string()
  .regex(/^[A-Za-z0-9][\w-]{0,62}$/, 'a name is 1 to 63 letters, digits, "_" and "-"');
const on_interrupt = onInterruptSchema.optional();
const toolSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('builtin'), name: z.enum(builtinTools), on_interrupt }),
  z.strictObject({
    type: z.literal('cli'),
    name: toolName,
    command: z.string().min(1, 'the command is empty'),
    description: z.string().default(''),
    readme: z.string().optional(),
    effect: z.enum(['pure', 'idempotent', 'effectful']).default('effectful'),
    on_interrupt,
  }),
  z
    .strictObject({
      type: z.literal('mcp'),
      name: toolName,
      command: z.array(z.string()).min(1).optional(),
      url: httpUrl.optional(),
      trusted: z.boolean().default(false),
      on_interrupt,
    })
    .refine(
      ({ command, url }) => (command === undefined) !== (url === undefined),
      'an MCP server has either a command or a url',
    ),
]);
type ToolSpec = z.infer<typeof toolSchema>;

const text = z.string().nullable().optional();
const specFields = {
  model: modelSchema,
  soul: text,
  system_prompt: text,
  instructions: text,
  greeting: z.string().nullable().default(null),
  session: section({
    on_disconnect: onDisconnectSchema.nullable().default(null),
    max_background_runtime: durationSchema.nullable().default(null),
    max_tool_iterations: z.int().min(1).max(10_000).default(100),
    turn_timeout: durationSchema.nullable().default(null),
    ttl_hours: z.number().min(0).nullable().default(null),
    compaction: z.enum(['archive', 'disabled', 'discard']).nullable().default(null),
    context: section({
      max_history_tokens: z.int().min(1).default(20_000),
      max_tool_result_tokens: z.int().min(1).default(8000),
      tool_result_truncation: z.enum(['head', 'tail', 'both']).default('head'),
      tool_result_keep_first: z.int().min(0).default(2),
      tool_result_keep_last: z.int().min(0).default(5),
      summarize: z.boolean().default(true),
    }),
  }),
  budget: budgetSchema,
  access: accessSchema,
  memory: section({
    backend: z
      .literal('filesystem', 'this version keeps memory in files; write "filesystem"')
      .default('filesystem'),
  }),
  skills_dir: z.string().min(1).default('./skills'),
};
const specSchema = z.strictObject({
  ...specFields,
  tools: z.array(toolSchema).max(64).superRefine(checkTools).default([]),
});

const metadataFields = {
  name: agentNameSchema,
  description: z.string().max(2000).default(''),
  version: z.string().max(100).default('1.0.0'),
  labels: labelsSchema.default({}),
};
const metadataSchema = z.strictObject(metadataFields);

const longSchema = z
  .strictObject({
    apiVersion: z.literal('duragent/v1alpha1', 'this version reads duragent/v1alpha1'),
    kind: z.literal('Agent', 'expected "Agent"'),
    metadata: metadataSchema,
    spec: specSchema,
  })
  .transform(({ metadata, spec }): AgentDocument => ({ form: 'long', metadata, spec }));

const shortToolsSchema = z
  .strictObject({ builtin: z.array(z.enum(builtinTools)).default([]) })
  .transform(({ builtin }): ToolSpec[] => builtin.map((name) => ({ type: 'builtin', name })));
const shortSchema = z
  .strictObject({ ...metadataFields, ...specFields, tools: shortToolsSchema.prefault({}) })
  .transform(({ name, description, version, labels, ...spec }): AgentDocument => {
    return { form: 'short', metadata: { name, description, version, labels }, spec };
  });

/** The spec of the smallest agent: what all other keys are when they are left out. */
export const defaultSpec: AgentSpec = specSchema.parse(
  { model: { provider: 'echo' } },
  { jitless: true },
);

/** `provider/name` is short for a map of the two; all else stays as it is. */
export function readModel(written: unknown): unknown {
  if (typeof written !== 'string') return written;
  const slash = written.indexOf('/');
  if (slash === -1) return { provider: written };
  return { provider: written.slice(0, slash), name: written.slice(slash + 1) };
}

function checkTools(tools: readonly ToolSpec[], context: z.RefinementCtx): void {
  for (const [i, tool] of tools.entries()) {
    const { type, name } = tool;
    const fault = interruptFault(tool);
    if (fault !== null) {
      context.addIssue({ code: 'custom', path: [i, 'on_interrupt'], message: fault });
    }
    const isTwice = tools.slice(0, i).some((one) => one.name === name && one.type === type);
    if (!isTwice) continue;
    const message = `the ${type} tool ${name} is there twice; remove one`;
    context.addIssue({ code: 'custom', path: [i, 'name'], message });
  }
}

/** What is wrong with what shall become of a tool's calls that are cut; null: nothing. */
function interruptFault(tool: ToolSpec): string | null {
  if (tool.on_interrupt === undefined) return null;
  if (tool.type === 'builtin' && tool.name === 'ask_user') {
    return 'ask_user is never cut: what it asks waits through restarts; remove on_interrupt';
  }
  if (tool.on_interrupt !== 'retry' || mayRepeat(tool)) return null;
  const how = {
    builtin: '',
    cli: ', or the effect that the tool has',
    mcp: ', or trusted: true where the server may say which those are',
  }[tool.type];
  return `"retry" is for pure or idempotent tools only; write ask or tell_model${how}`;
}

/** Whether some of its calls can be without an effect that must not be repeated. */
function mayRepeat(tool: ToolSpec): boolean {
  switch (tool.type) {
    case 'builtin':
      return !effectfulBuiltins.has(tool.name);
    case 'cli':
      return tool.effect !== 'effectful';
    case 'mcp':
      return tool.trusted;
  }
}

function checkModel(
  model: { provider: string; name: string; base_url: string | null },
  context: z.RefinementCtx,
): void {
  const fault = (key: string, message: string): void => {
    context.addIssue({ code: 'custom', path: [key], message });
  };
  const needsName = model.provider !== 'auto' && model.provider !== 'echo';
  if (needsName && model.name === '') fault('name', `the provider ${model.provider} needs a name`);
  if (model.provider === 'auto' && model.name !== '') {
    fault('name', '"auto" finds the model itself; remove the name, or name the provider');
  }
  if (model.provider === 'openai-compatible' && model.base_url === null) {
    fault('base_url', 'the provider openai-compatible needs the base_url of its API');
  }
}

function toModelRef(model: z.infer<typeof fallbackSchema>): ModelRef {
  return {
    provider: model.provider,
    name: model.name,
    baseUrl: model.base_url,
    temperature: model.temperature,
    maxInputTokens: model.max_input_tokens,
    maxOutputTokens: model.max_output_tokens,
  };
}
