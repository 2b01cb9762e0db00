import type { FileFault } from '../core/agent.ts';
import { refusedVariable } from '../core/child-environment.ts';
import { WEBHOOK_GATEWAY } from '../core/webhooks/notification.ts';
import type { ConfigFile } from './config-schema.ts';
import { filledSecrets, longOf } from './filled-secrets.ts';
import type { GoodReading } from './yaml-file.ts';

/** One gateway as duragent.yaml describes it, its path absolute and its secrets filled in. */
export interface GatewaySettings {
  name: string;
  /** A name to be looked for, or an absolute path. */
  command: string;
  args: string[];
  env: Record<string, string>;
  config: Record<string, unknown>;
  restart: 'always' | 'on_failure' | 'never';
}

/** The gateways of the file. `fromFile` makes a path absolute. */
export function gatewaysOf(
  { gateways }: ConfigFile,
  fromFile: (path: string) => string,
): GatewaySettings[] {
  return gateways.external.map((gateway) => ({
    ...gateway,
    command: gateway.command.includes('/') ? fromFile(gateway.command) : gateway.command,
    env: Object.fromEntries(
      Object.entries(gateway.env).map(([name, value]) => [name, String(value)]),
    ),
  }));
}

/** Names that are taken, and variables that no child may be given. */
export function gatewayFaults({ value, at }: GoodReading<ConfigFile>): (FileFault | null)[] {
  const seen = new Set<string>();
  return value.gateways.external.flatMap(({ name, env }, index) => {
    const path = ['gateways', 'external', index];
    const faults: (FileFault | null)[] = [];
    if (ownNames.has(name)) {
      const message = `"${name}" is the server's own; choose another name`;
      faults.push(at([...path, 'name'], message));
    }
    if (seen.has(name)) {
      const message = `there is a gateway "${name}" above; choose another name`;
      faults.push(at([...path, 'name'], message));
    }
    seen.add(name);
    for (const variable of Object.keys(env)) {
      if (!refusedVariable(variable)) continue;
      const message = `${variable} changes which code a program runs and is never passed on; remove it`;
      faults.push(at([...path, 'env', variable], message));
    }
    return faults;
  });
}

/** Secrets where everybody on the machine could read them. */
export function gatewayWarnings({ filled, at }: GoodReading<ConfigFile>): (FileFault | null)[] {
  return filled(['gateways', 'external']).flatMap(({ path, name }) => {
    if (path[3] !== 'args' || !secretName.test(name)) return [];
    const message = `arguments can be read by everybody on this machine; put \${${name}} under config or env`;
    return [at(path, message)];
  });
}

/**
 * What no log may show of the gateways: texts under a key that says so, and every variable that was
 * put in, unless it says by its name or its value that it is none.
 */
export function gatewaySecrets({ value, filled }: GoodReading<ConfigFile>): string[] {
  const written = value.gateways.external.flatMap(({ env, config }) => [
    ...secretTexts(env, false),
    ...secretTexts(config, false),
  ]);
  return longOf([...written, ...filledSecrets(filled(['gateways', 'external']))]);
}

/** `http` and `cli` stand beside `external`, and are where sessions came from; webhooks are told things as chats are. */
const ownNames: ReadonlySet<string> = new Set(['http', 'cli', WEBHOOK_GATEWAY]);

const secretName =
  /token|secret|passw|passphrase|credential|cookie|auth(?!or)|key$|keys$|dsn$|webhook/i;

function secretTexts(value: unknown, secret: boolean): string[] {
  if (typeof value === 'string' || typeof value === 'number') return secret ? [`${value}`] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, below]) =>
    secretTexts(below, secret || secretName.test(key)),
  );
}
