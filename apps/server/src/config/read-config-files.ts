import { isAbsolute, join, relative } from 'node:path';
import { parseEnv } from 'node:util';
import type { FileFault } from '../core/agent.ts';
import { configFileSchema, oldNames, type ConfigFile } from './config-schema.ts';
import type { ConfigPlace } from './find-config.ts';
import { gatewayFaults } from './gateway-settings.ts';
import type { Environment } from './substitute.ts';
import { readTextFile } from './text-file.ts';
import { webhookFaults } from './webhook-settings.ts';
import { readYaml, type GoodReading, type YamlReading } from './yaml-file.ts';

/**
 * Reads the configuration file and the `.env` beside it; without a file everything is its default.
 * @returns the environment with what the `.env` adds and never overrides, what the file says, and
 *   the faults of both: what was read only holds where there are none
 */
export async function readConfigFiles(place: ConfigPlace, variables: Environment, cwd: string) {
  const { env, faults } = await readDotenv(place, variables, cwd);
  const reading = await readOwnYaml(place, env, cwd);
  return {
    env,
    reading,
    faults: [...faults, ...(reading.ok ? crossFaults(reading) : reading.faults)],
  };
}

/** The environment with what the `.env` beside the file adds. */
async function readDotenv(place: ConfigPlace, env: Environment, cwd: string) {
  if (place.file === null) return { env, faults: [] };
  const file = join(place.base, '.env');
  const reading = await readTextFile(file);
  if (reading.ok) return { env: { ...parseEnv(reading.text), ...env }, faults: [] };
  return { env, faults: reading.missing ? [] : [startOf(shownPath(file, cwd), reading.reason)] };
}

async function readOwnYaml(
  { file }: ConfigPlace,
  env: Environment,
  cwd: string,
): Promise<YamlReading<ConfigFile>> {
  const shown = file === null ? '' : shownPath(file, cwd);
  const options = { env, renames: oldNames };
  if (file === null) return readYaml('', shown, configFileSchema, options);
  const reading = await readTextFile(file);
  if (reading.ok) return readYaml(reading.text, shown, configFileSchema, options);
  return { ok: false, faults: [startOf(shown, reading.reason)] };
}

/** Faults of values that are good by themselves. */
function crossFaults(reading: GoodReading<ConfigFile>): FileFault[] {
  const { value, at } = reading;
  const { server, gateways } = value;
  const faults: (FileFault | null)[] = [];
  if (at(['server', 'port'], '') !== null && server.port !== gateways.http.port) {
    const message = `gateways.http.port and server.port are one setting, and server.port is ${server.port}; remove one of them`;
    faults.push(at(['gateways', 'http', 'port'], message));
  }
  if (!gateways.http.enabled && !gateways.cli.enabled && gateways.external.length === 0) {
    const message = 'nothing could reach this server; enable gateways.http or gateways.cli';
    faults.push(at(['gateways'], message));
  }
  return [...faults, ...gatewayFaults(reading), ...webhookFaults(reading)].filter(
    (fault) => fault !== null,
  );
}

function startOf(file: string, message: string): FileFault {
  return { file, line: 1, column: 1, message };
}

function shownPath(file: string, cwd: string): string {
  const path = relative(cwd, file);
  return path.startsWith('..') || isAbsolute(path) ? file : path;
}
