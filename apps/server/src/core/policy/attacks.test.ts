import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { evaluatePolicy } from './evaluate-policy.ts';
import type { PolicyCall } from './policy-call.ts';
import { policyFileSchema, type Policies } from './policy-file.ts';

/** Each line of these files is a case: add yours there. */
const folder = path.join(import.meta.dirname, '../../../../../test/fixtures/policy');

const args = z.record(z.string(), z.unknown());
const callSchema: z.ZodType<PolicyCall> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('bash'), command: z.string() }),
  z.strictObject({
    kind: z.literal('builtin'),
    name: z.string(),
    action: z.string().nullable(),
    args,
    harmless: z.boolean(),
  }),
  z.strictObject({ kind: z.literal('cli'), name: z.string(), args }),
  z.strictObject({ kind: z.literal('mcp'), server: z.string(), name: z.string(), args }),
]);
const subject = { command: z.string().optional(), call: callSchema.optional(), why: z.string() };

function readCases<T extends { command?: string; call?: PolicyCall; why: string }>(
  file: string,
  schema: z.ZodType<T>,
): { name: string; row: T; call: PolicyCall }[] {
  const lines = readFileSync(path.join(folder, file), 'utf8').trim().split('\n');
  return lines.map((line, index) => {
    const row = schema.parse(JSON.parse(line));
    const call = row.call ?? { kind: 'bash', command: row.command ?? '' };
    expect(row.call === undefined).toBe(row.command !== undefined);
    return { name: `${file}:${index + 1} ${row.why}`, row, call };
  });
}

function policiesOf(written: Partial<Record<keyof Policies, unknown>>): { policies: Policies } {
  const read = (value: unknown) => (value === undefined ? null : policyFileSchema.parse(value));
  const { workspace, agent, local } = written;
  return {
    policies: { workspace: read(workspace), agent: read(agent), local: read(local) },
  };
}

const bypasses = readCases(
  'bypasses.jsonl',
  z.strictObject({ allow: z.array(z.string()).min(1), ...subject }),
);

describe('a call that no rule allows', () => {
  test.each(bypasses)('$name', ({ row: { allow }, call }) => {
    const asked = evaluatePolicy(policiesOf({ workspace: { allow } }), call);
    expect(asked.decision).toBe('ask');
    const agent = { mode: 'restrict', allow };
    expect(evaluatePolicy(policiesOf({ agent }), call).decision).toBe('deny');
    if (asked.always === null) return;
    // What people would store allows this call and leaves the rest as it was.
    const local = { allow: [asked.always] };
    expect(evaluatePolicy(policiesOf({ local }), call).decision).toBe('allow');
  });

  test('has so many examples', () => {
    expect(bypasses.length).toBeGreaterThanOrEqual(300);
  });
});

const verdicts = readCases(
  'verdicts.jsonl',
  z.strictObject({
    policy: z.strictObject({
      workspace: z.unknown().optional(),
      agent: z.unknown().optional(),
      local: z.unknown().optional(),
    }),
    expect: z.enum(['allow', 'ask', 'deny']),
    notify: z.boolean().optional(),
    ...subject,
  }),
);

describe('a call that is judged', () => {
  test.each(verdicts)('$name', ({ row, call }) => {
    const verdict = evaluatePolicy(policiesOf(row.policy), call);
    expect(verdict.decision).toBe(row.expect);
    expect(verdict.notify).toBe(row.notify ?? false);
    expect(verdict.reason).not.toBe('');
    if (verdict.decision !== 'ask') expect(verdict.always).toBeNull();
  });

  test('has so many examples', () => {
    expect(verdicts.length).toBeGreaterThanOrEqual(150);
  });
});

const denied = readCases(
  'denied.jsonl',
  z.strictObject({ deny: z.array(z.string()).min(1), ...subject }),
);

describe('a command that a rule stops however it is written', () => {
  test.each(denied)('$name', ({ row: { deny }, call }) => {
    const workspace = { mode: 'dangerous', deny, allow: ['bash:*'] };
    expect(evaluatePolicy(policiesOf({ workspace }), call).decision).toBe('deny');
    const told = evaluatePolicy(policiesOf({ workspace: { notify: deny } }), call);
    expect(told.notify).toBe(true);
  });
});
