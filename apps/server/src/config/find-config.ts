import { DuragentError } from '@duragent/protocol';
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode } from './text-file.ts';

/** The configuration's file and the folders that follow from where it lies. */
export interface ConfigPlace {
  /** Absolute path; null: there is no file. */
  file: string | null;
  /** Where relative paths of the file start. */
  base: string;
  /** The folder that the workspace is in. */
  workspaceRoot: string;
}

/**
 * Finds duragent.yaml: the one that was asked for (by flag, then by `DURAGENT_CONFIG`), else the
 * first of the known places that has one with content.
 * @throws DuragentError `config_invalid` if one was asked for and is not there or no YAML by name.
 */
export async function findConfig(options: {
  cwd: string;
  home: string;
  flag: string | undefined;
  variable: string | undefined;
}): Promise<ConfigPlace> {
  const { cwd, home } = options;
  const asked = options.flag ?? options.variable;
  if (asked !== undefined) {
    const by = options.flag === undefined ? 'DURAGENT_CONFIG' : '--config';
    return placeOf(await askedFile(resolve(cwd, expandHome(asked, home)), by), options);
  }
  const known = [
    ...knownIn(cwd),
    join(home, '.config', 'duragent', 'duragent.yaml'),
    join(home, '.config', 'duragent', 'duragent.yml'),
  ];
  for (const file of known) {
    if (await exists(file, { orEmpty: false })) return placeOf(file, options);
  }
  return { file: null, base: cwd, workspaceRoot: cwd };
}

/** The files of a workspace that would be read instead of the one that was found. */
export function filesBefore({ file, workspaceRoot }: ConfigPlace): string[] {
  const known = knownIn(workspaceRoot);
  const at = known.findIndex((place) => place === file);
  return at === -1 ? known : known.slice(0, at);
}

/** Where a configuration lies in a workspace, the first that has one counts. */
function knownIn(folder: string): string[] {
  return [
    join(folder, 'duragent.yaml'),
    join(folder, 'duragent.yml'),
    join(folder, '.duragent', 'duragent.yaml'),
  ];
}

/** `~` and `~/…` start at the home directory. */
export function expandHome(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path;
}

async function askedFile(file: string, by: string): Promise<string> {
  if (!/\.ya?ml$/.test(file)) {
    const message = `${by}: ${file} is not named .yaml or .yml; the configuration is a YAML file`;
    throw new DuragentError('config_invalid', message);
  }
  if (await exists(file, { orEmpty: true })) return file;
  throw new DuragentError('config_invalid', `${by}: there is no file ${file}; correct the path`);
}

function placeOf(file: string, { cwd, home }: { cwd: string; home: string }): ConfigPlace {
  const base = dirname(file);
  if (base === join(home, '.config', 'duragent')) return { file, base, workspaceRoot: cwd };
  return { file, base, workspaceRoot: basename(base) === '.duragent' ? dirname(base) : base };
}

/** An empty file says nothing; where agents could make one that does, the sandbox leaves it. */
async function exists(file: string, { orEmpty }: { orEmpty: boolean }): Promise<boolean> {
  try {
    const facts = await stat(file);
    return orEmpty || facts.size > 0;
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    const message = `${file} cannot be looked at (${code ?? String(cause)}); mend its permissions`;
    throw new DuragentError('config_invalid', message, { cause });
  }
}
