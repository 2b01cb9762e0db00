import { DuragentError } from '@duragent/protocol';
import type { FileFault } from '../../core/agent.ts';
import type { PolicyFile } from '../../core/policy/policy-file.ts';
import type { PolicyStore } from '../../ports/policy-store.ts';
import { addRule } from './local-rules.ts';
import { checkRule, type ReadPolicy } from './policy-text.ts';

/** The texts of the files that a store keeps, as they would lie on a disk. */
export interface KeptPolicies {
  workspace?: string;
  /** By the agent's name. */
  agents: Record<string, { own?: string; local?: string }>;
}

/** Policies in memory. Another store over the same `kept` sees what this one left. */
export function memoryPolicyStore(
  readPolicy: ReadPolicy,
  kept: KeptPolicies = { agents: {} },
): PolicyStore {
  return {
    async load({ name }) {
      const faults: FileFault[] = [];
      const read = (text: string | undefined, file: string): PolicyFile | null => {
        const reading = text === undefined ? null : readPolicy(text, file);
        if (reading?.ok === false) faults.push(...reading.faults);
        return reading?.ok === true ? reading.value : null;
      };
      const { own, local } = kept.agents[name] ?? {};
      const policies = {
        workspace: read(kept.workspace, 'policy.yaml'),
        agent: read(own, `agents/${name}/policy.yaml`),
        local: read(local, `agents/${name}/policy.local.yaml`),
      };
      return faults.length > 0 ? { policies: null, faults } : { policies };
    },

    async allowAlways({ name }, rule) {
      checkRule(readPolicy, rule);
      const files = (kept.agents[name] ??= {});
      const text = files.local ?? '';
      const file = `agents/${name}/policy.local.yaml`;
      const before = readPolicy(text, file);
      if (before.ok && before.value.allow.some((one) => one.text === rule)) return;
      const changed = addRule(text, rule);
      if (!before.ok || changed === null || !readPolicy(changed, file).ok) {
        throw new DuragentError('config_invalid', `${file} does not load; mend it.`);
      }
      files.local = changed;
    },
  };
}
