import { z } from 'zod';
import type { FileFault } from '../agent.ts';
import { section } from '../schema-parts.ts';
import { readAllowRule, readWatchRule, type AllowRule, type WatchRule } from './policy-rule.ts';

/** The most rules of one list. */
const MAX_RULES = 1000;

/** What becomes of a call that no rule of `deny` stops. */
export type PolicyMode =
  /** It is allowed. */
  | 'dangerous'
  /** It is allowed if a rule allows it, or if it is harmless; else a person is asked. */
  | 'ask'
  /** It is allowed if a rule allows it. */
  | 'restrict';

/** What a policy.yaml says. */
export interface PolicyFile {
  /** null: it says nothing of it. */
  mode: PolicyMode | null;
  deny: readonly WatchRule[];
  allow: readonly AllowRule[];
  notify: readonly WatchRule[];
}

/** The files that rule an agent; null: there is none. */
export interface Policies {
  /** `policy.yaml` of the workspace. */
  workspace: PolicyFile | null;
  /** `policy.yaml` in the agent's folder. */
  agent: PolicyFile | null;
  /** `policy.local.yaml`: what people chose to allow always. */
  local: PolicyFile | null;
}

/** The policies of an agent, or why they do not load: then nothing is allowed. */
export type LoadedPolicy = { policies: Policies } | { policies: null; faults: FileFault[] };

const NO_TEXT =
  'a rule is text such as "bash:git status"; write it in quotes, without a space behind the colon';

function rules<T>(read: (text: string) => { rule: T } | { fault: string }) {
  const rule = z.string(NO_TEXT).transform((text, context): T => {
    const reading = read(text);
    if ('rule' in reading) return reading.rule;
    context.addIssue(reading.fault);
    return z.NEVER;
  });
  return z
    .array(rule)
    .max(MAX_RULES)
    .nullish()
    .transform((list) => list ?? []);
}

/** A policy.yaml as it is written. Everything may be left out. */
export const policyFileSchema = section({
  mode: z
    .enum(['dangerous', 'ask', 'restrict'])
    .nullish()
    .transform((mode) => mode ?? null),
  deny: rules(readWatchRule),
  allow: rules(readAllowRule),
  notify: rules(readWatchRule),
});
