import type { z } from 'zod';
import { hostSchema, pathSchema, portSchema, tokenSchema } from './config-schema.ts';
import { parseOllamaHost } from './ollama-host.ts';
import type { Environment } from './substitute.ts';

/** The variables this process was started with. Nothing else in the server reads them. */
export function readEnvironment(): Environment {
  return process.env;
}

/** What the environment says of the configuration; undefined: it says nothing. */
export interface EnvironmentSettings {
  host: string | undefined;
  port: number | undefined;
  dataDir: string | undefined;
  apiToken: string | undefined;
  adminToken: string | undefined;
  /** The base URL of the Ollama that programs on this machine use. */
  ollamaHost: string;
}

/** Reads the variables that Duragent knows. Each that is set and cannot be used is a fault. */
export function readSettings(env: Environment): {
  settings: EnvironmentSettings;
  faults: string[];
} {
  const faults: string[] = [];
  function read<T>(name: string, schema: z.ZodType<T>, parse: (text: string) => unknown = String) {
    const text = env[name];
    if (text === undefined) return undefined;
    const result = text === '' ? null : schema.safeParse(parse(text));
    if (result?.success === true) return result.data;
    // The value may be a secret and is not repeated.
    const reason = result?.error.issues[0]?.message ?? 'it is set and empty';
    faults.push(`${name}: ${reason}; correct the variable or unset it`);
    return undefined;
  }
  const ollamaHost = parseOllamaHost(env['OLLAMA_HOST']);
  if (ollamaHost === null) {
    faults.push('OLLAMA_HOST: expected [http://]host[:port]; correct the variable or unset it');
  }
  const settings: EnvironmentSettings = {
    host: read('DURAGENT_HOST', hostSchema),
    port: read('DURAGENT_PORT', portSchema, parsePort),
    dataDir: read('DURAGENT_DATA_DIR', pathSchema),
    apiToken: read('DURAGENT_API_TOKEN', tokenSchema),
    adminToken: read('DURAGENT_ADMIN_TOKEN', tokenSchema),
    ollamaHost: ollamaHost ?? '',
  };
  return { settings, faults };
}

/** A port as text, for `portSchema` to judge. */
export function parsePort(text: string): number {
  return /^\d{1,5}$/.test(text) ? Number(text) : NaN;
}

/** API keys of model providers; null: there is none. */
export interface ModelKeys {
  anthropic: string | null;
  openai: string | null;
  openrouter: string | null;
}

/** The providers' own variables; one that is empty is one that is not set. */
export function readModelKeys(env: Environment): ModelKeys {
  return {
    anthropic: env['ANTHROPIC_API_KEY'] || null,
    openai: env['OPENAI_API_KEY'] || null,
    openrouter: env['OPENROUTER_API_KEY'] || null,
  };
}

/** The key that belongs to one agent: `DURAGENT_AGENT_<NAME>_API_KEY`; null: there is none. */
export function readAgentKey(env: Environment, agent: string): string | null {
  return env[`DURAGENT_AGENT_${agent.toUpperCase().replace(/-/g, '_')}_API_KEY`] || null;
}

/** The value of every variable that holds a key, whosever it is. */
export function readAllKeys(env: Environment): string[] {
  return Object.entries(env).flatMap(([name, value]) =>
    /_API_KEY$|_TOKEN$/.test(name) && value ? [value] : [],
  );
}
