import { lstat, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import {
  bubblewrapArguments,
  type BubblewrapFeatures,
  type PathRule,
} from './bubblewrap-arguments.ts';
import { commandEnvironment } from './environment.ts';
import {
  environmentFiles,
  homeSecrets,
  machineSecrets,
  neededOfRun,
  privateFolders,
  RESOLVER_FILE,
} from './hidden-places.ts';
import { initScript, requestFault, SHELL } from './launcher.ts';
import { ReservedFiles } from './reserved-files.ts';
import type { Launch, Launcher, LaunchRequest } from './launcher.ts';

/** The places that make a sandbox; all paths are absolute. */
export interface SandboxPlaces {
  /** The one folder where commands may write. */
  workspace: string;
  dataDir: string;
  /** The homes of who runs the server: as HOME says, and as the system does. */
  homes: readonly string[];
  /** Folders whose `.env` files are hidden: where the configuration lies. */
  envFolders: readonly string[];
  /** Further files and folders that commands may not read. */
  hidden: readonly string[];
  /** Files and folders that they may read but not change, though they lie in the workspace. */
  readOnly: readonly string[];
  /** Files that they may neither read nor make: what lies there is read as a configuration. */
  reserved: readonly string[];
}

export interface BubblewrapOptions {
  /** Absolute path of bwrap. */
  bwrap: string;
  features: BubblewrapFeatures;
  places: SandboxPlaces;
  /** Those of `places.reserved` (`reserve`), for all launchers that are tried. */
  reserved: ReservedFiles;
  baseEnv: Readonly<Record<string, string | undefined>>;
  isRefusedVariable: (name: string) => boolean;
}

/** Starts each command in namespaces of its own, with the machine read-only and its secrets out of sight. */
export function bubblewrapLauncher(options: BubblewrapOptions): Launcher {
  let machine: Promise<Machine> | null = null;
  let keepsAlive = false;
  return {
    ownsNamespace: true,
    async prepare(request) {
      machine ??= lookAround(options.places).catch((error: unknown) => {
        machine = null;
        throw error;
      });
      const launch = await prepare(request, machine, options);
      if (!('fault' in launch)) keepsAlive ||= !request.diesWithParent;
      return launch;
    },
    async close() {
      // What outlives the server could make them then.
      if (!keepsAlive) await options.reserved.release();
    },
  };
}

/** What does not change while the server runs. */
interface Machine {
  workspace: string;
  rules: PathRule[];
  /** Where secrets may come and go, since people write there too. */
  changingSecrets: string[];
}

async function prepare(
  request: LaunchRequest,
  looking: Promise<Machine>,
  options: BubblewrapOptions,
): Promise<Launch | { fault: string }> {
  try {
    const machine = await looking;
    const fault = requestFault(request);
    if (fault !== null) return { fault };
    const environment = commandEnvironment({
      base: options.baseEnv,
      tmpDir: '/tmp',
      changes: request.env,
      isRefusedVariable: options.isRefusedVariable,
    });
    if ('fault' in environment) return environment;
    const [cwd, found, writable, secrets, reserved] = await Promise.all([
      resolved(request.cwd),
      // What is not there cannot be read: nothing is lost.
      Promise.all((request.readable ?? []).map((place) => realpath(place).catch(() => null))),
      Promise.all((request.writable ?? []).map(resolved)),
      Promise.all(machine.changingSecrets.map((place) => ruleFor(place, 'hidden'))),
      options.reserved.rules(),
    ]);
    const readable = found.filter((place) => place !== null);
    const rules: PathRule[] = [
      ...machine.rules,
      ...secrets.filter((rule) => rule !== null),
      ...reserved,
      // Within the workspace it is writable as it is; a folder of it could be swapped for a link.
      ...writable
        .filter((folder) => !isWithin(folder, machine.workspace))
        .map((folder): PathRule => ({ path: folder, view: 'writable' })),
      ...readable.map((folder): PathRule => ({ path: folder, view: 'readable' })),
    ];
    if (!mayStartIn(cwd, [machine.workspace, ...readable, ...writable], rules)) {
      return {
        fault: `${request.cwd} is not in the workspace: commands run in ${machine.workspace} or a folder of it`,
      };
    }
    const args = bubblewrapArguments({ ...request, cwd, rules, features: options.features });
    return {
      file: options.bwrap,
      args: [...args, SHELL, '-c', initScript(request), 'sh', ...request.argv],
      env: environment.env,
      cwd: '/',
    };
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}

/** @throws DuragentError `config_invalid` where no sandbox can be made around the workspace. */
export async function checkWorkspace(places: SandboxPlaces): Promise<void> {
  const workspace = await realpath(places.workspace).catch(() => null);
  const fault =
    workspace === null
      ? `sandbox.workspace: there is no folder ${places.workspace}: make it, or correct the path`
      : (workspaceFault(workspace, await resolved(places.dataDir)) ??
        (await linkFault(places, workspace)));
  if (fault !== null) throw new DuragentError('config_invalid', fault);
}

/**
 * Makes the files of `places.reserved` that commands could make; `checkWorkspace` went before.
 * @throws DuragentError `config_invalid` where one cannot be made.
 */
export async function reserve(places: SandboxPlaces): Promise<ReservedFiles> {
  const workspace = await resolved(places.workspace);
  const dataDir = await resolved(places.dataDir);
  const files = await Promise.all(places.reserved.map(withoutLinks));
  const reserved = new ReservedFiles(
    files.filter((file) => isWithin(file, workspace) && !isWithin(file, dataDir)),
  );
  try {
    await reserved.rules();
    return reserved;
  } catch (error) {
    await reserved.release();
    throw new DuragentError('config_invalid', error instanceof Error ? error.message : '');
  }
}

/** Where a file lies or would lie, its folders followed through links; the file itself may be one. */
async function withoutLinks(file: string): Promise<string> {
  const folder = path.dirname(file);
  const real = await realpath(folder).catch(() => null);
  const base = real ?? (folder === file ? folder : await withoutLinks(folder));
  return path.join(base, path.basename(file));
}

/** Nothing can be mounted over a link: a command could put another in its place. */
async function linkFault(
  { dataDir, readOnly }: SandboxPlaces,
  workspace: string,
): Promise<string | null> {
  for (const place of [dataDir, ...readOnly]) {
    for (let at = place; at !== path.dirname(at); at = path.dirname(at)) {
      const isLink = await lstat(at).then(
        (facts) => facts.isSymbolicLink(),
        () => false,
      );
      if (!isLink || !isWithin(await withoutLinks(at), workspace)) continue;
      return `${at} is a link in the folder that commands may write (sandbox.workspace), where they could put another in its place: name in duragent.yaml or by --config what it leads to, or put that there itself`;
    }
  }
  return null;
}

async function lookAround(places: SandboxPlaces): Promise<Machine> {
  const workspace = await resolved(places.workspace);
  const dataDir = await resolved(places.dataDir);
  const homes = await Promise.all(places.homes.map((home) => realpath(home).catch(() => null)));
  const openHomes = homes.filter((home) => home !== null).filter((home) => isOpen(home, workspace));
  const hiddenHomes = places.homes.filter((_, i) => !openHomes.includes(homes[i] ?? ''));
  const openSecrets = openHomes.flatMap((home) => homeSecrets.map((name) => path.join(home, name)));
  const rules = await Promise.all([
    ...[...privateFolders, ...hiddenHomes].map((folder) => ruleFor(folder, 'private')),
    ...neededOfRun.map((place) => ruleFor(place, 'readable')),
    resolverRule(),
    ...[...machineSecrets, ...openSecrets, ...places.hidden, dataDir].map((place) =>
      ruleFor(place, 'hidden'),
    ),
    ...places.readOnly.map((place) => ruleFor(place, 'kept')),
    ...places.envFolders.map((folder) => workspaceFolderRule(folder, workspace)),
  ]);
  return {
    workspace,
    changingSecrets: [
      ...openSecrets,
      ...places.envFolders.flatMap((folder) =>
        environmentFiles.map((name) => path.join(folder, name)),
      ),
    ],
    rules: [
      ...rules
        .filter((rule) => rule !== null)
        // Those that it contains, it was meant to contain.
        .filter((rule) => rule.view !== 'private' || !isWithin(rule.path, workspace))
        .map((rule): PathRule => ({ ...rule, isFixed: true })),
      { path: workspace, view: 'writable', isFixed: true },
    ],
  };
}

/** Whether a home cannot be hidden as a whole: the workspace is all of it, or it is all of the machine. */
function isOpen(home: string, workspace: string): boolean {
  return home === '/' || isWithin(home, workspace);
}

/** Mounted by itself, so that no command renames it with what is hidden in it. */
async function workspaceFolderRule(folder: string, workspace: string): Promise<PathRule | null> {
  const real = await realpath(folder).catch(() => null);
  if (real === null || !isWithin(real, workspace)) return null;
  return { path: real, view: 'writable' };
}

/** The rule for a place, where it really lies; null: there is no such place, or it is a device. */
async function ruleFor(
  place: string,
  view: 'private' | 'readable' | 'kept' | 'hidden',
): Promise<PathRule | null> {
  try {
    const real = await realpath(place);
    const facts = await lstat(real);
    if (view === 'readable' || view === 'kept') return { path: real, view };
    if (facts.isDirectory())
      return { path: real, view: view === 'private' ? view : 'hidden-folder' };
    return view === 'hidden' && !facts.isCharacterDevice()
      ? { path: real, view: 'hidden-file' }
      : null;
  } catch {
    return null;
  }
}

/** The network needs this file, and it is often a link into /run. */
async function resolverRule(): Promise<PathRule | null> {
  const rule = await ruleFor(RESOLVER_FILE, 'readable');
  return rule !== null && isWithin(rule.path, '/run') ? rule : null;
}

function workspaceFault(workspace: string, dataDir: string): string | null {
  if (workspace === '/') {
    return 'sandbox.workspace is the whole machine: name the one folder where agents may write';
  }
  if (workspace === dataDir) {
    return `sandbox.workspace is the data directory ${dataDir}: name another folder, agents may not write there`;
  }
  const system = ['/proc', '/sys', '/dev'].find((folder) => isWithin(workspace, folder));
  return system === undefined ? null : `sandbox.workspace may not lie in ${system}`;
}

/** Whether a command may start in a folder: it lies where it has business, and nothing hides it there. */
function mayStartIn(cwd: string, allowed: readonly string[], rules: readonly PathRule[]): boolean {
  if (!allowed.some((folder) => isWithin(cwd, folder))) return false;
  const deepest = rules
    .filter((rule) => isWithin(cwd, rule.path))
    .sort((a, b) => b.path.length - a.path.length)[0];
  return deepest?.view === 'writable' || deepest?.view === 'readable';
}

async function resolved(place: string): Promise<string> {
  try {
    return await realpath(place);
  } catch (cause) {
    throw new Error(`there is no folder ${place}: make it, or correct the path`, { cause });
  }
}

function isWithin(place: string, folder: string): boolean {
  return place === folder || folder === '/' || place.startsWith(`${folder}/`);
}
