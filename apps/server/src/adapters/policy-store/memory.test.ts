import { readYaml } from '../../config/yaml-file.ts';
import { policyFileSchema } from '../../core/policy/policy-file.ts';
import { policyStoreContract } from '../../ports/policy-store.contract.ts';
import { memoryPolicyStore, type KeptPolicies } from './memory.ts';
import type { ReadPolicy } from './policy-text.ts';

const readPolicy: ReadPolicy = (text, file) => readYaml(text, file, policyFileSchema);

policyStoreContract('policies in memory', async () => {
  const kept: KeptPolicies = { agents: {} };
  return {
    open: () => memoryPolicyStore(readPolicy, kept),
    agent: (name) => ({ name, home: `/agents/${name}` }),
    async write(which, agent, text) {
      if (which === 'workspace') {
        delete kept.workspace;
        if (text !== null) kept.workspace = text;
        return;
      }
      const key = which === 'agent' ? 'own' : 'local';
      const files = (kept.agents[agent] ??= {});
      delete files[key];
      if (text !== null) files[key] = text;
    },
    dispose: async () => {},
  };
});
