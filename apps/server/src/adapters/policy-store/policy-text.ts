import { DuragentError } from '@duragent/protocol';
import type { FileFault } from '../../core/agent.ts';
import type { PolicyFile } from '../../core/policy/policy-file.ts';

/** Reads the text of a policy.yaml; `file` is how faults name it. Never throws. */
export type ReadPolicy = (
  text: string,
  file: string,
) => { ok: true; value: PolicyFile } | { ok: false; faults: FileFault[] };

/** @throws DuragentError `invalid_request` for what is no rule that allows. */
export function checkRule(readPolicy: ReadPolicy, rule: string): void {
  // JSON is YAML.
  const read = readPolicy(JSON.stringify({ allow: [rule] }), 'rule');
  if (read.ok) return;
  const reasons = read.faults.map(({ message }) => message).join('; ');
  throw new DuragentError('invalid_request', `${JSON.stringify(rule)} allows nothing: ${reasons}.`);
}
