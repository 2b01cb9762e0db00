import { DuragentError } from '@duragent/protocol';
import { z } from 'zod';
import { createLanguageModels } from './adapters/language-model/language-models.ts';
import { type Config, formatFault } from './config/load-config.ts';
import { readYaml } from './config/yaml-file.ts';
import type { ModelRef } from './core/agent.ts';
import type { LanguageModel } from './ports/language-model.ts';

/** The models that agents may name, with the keys of this server. */
export function openModels(config: Config): LanguageModel {
  return createLanguageModels({
    keys: withoutNulls(config.models.keys),
    agentKey: (agent) => config.models.agentKey(agent) ?? undefined,
    ollamaUrl: config.models.ollamaHost,
    readYaml: (text, file) => {
      const reading = readYaml(text, file, z.unknown());
      if (reading.ok) return reading.value;
      throw new DuragentError('config_invalid', reading.faults.map(formatFault).join('\n'));
    },
  });
}

function withoutNulls(keys: Config['models']['keys']): Record<string, string> {
  return Object.fromEntries(Object.entries(keys).filter(([, key]) => key !== null));
}

/** `<provider>/<name>` of what a call with this model would go to now. */
export async function describeModel(models: LanguageModel, model: ModelRef): Promise<string> {
  const { provider, name } = await models.resolve(model);
  return name === '' ? provider : `${provider}/${name}`;
}
