import { execFile } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const root = path.join(import.meta.dirname, '../..');
/** Names the folder of the installed programs; set by the global setup of the tests that start them. */
export const programsVariable = 'DURAGENT_TEST_PROGRAMS';

/** The programs of this repository, by the packages that bring them, and the folders of these. */
const packages = {
  duragent: { command: 'duragent', folder: 'apps/cli' },
  '@duragent/gateway-loopback': {
    command: 'duragent-gateway-loopback',
    folder: 'gateways/loopback',
  },
  '@duragent/gateway-telegram': {
    command: 'duragent-gateway-telegram',
    folder: 'gateways/telegram',
  },
} as const;

/**
 * Bundles every program as it is published, and puts them where npm would: into `node_modules` of a
 * folder. One that is started from there has nothing to translate, and few files to read.
 */
export async function installPrograms(folder: string): Promise<void> {
  const modules = path.join(folder, 'node_modules');
  const links = path.join(modules, '.bin');
  await mkdir(links, { recursive: true });
  await Promise.all(
    Object.entries(packages).map(async ([name, { command, folder: sources }]) => {
      const script = path.join(root, sources, 'scripts/build.ts');
      await promisify(execFile)(process.execPath, [script, path.join(modules, name)]);
      await symlink(path.join('..', name, `${command}.js`), path.join(links, command));
    }),
  );
}

/**
 * The file of a program: the bundle if these tests installed it; otherwise, as in a campaign that
 * runs by itself, the one that runs from the sources.
 */
export function programFile(name: keyof typeof packages): string {
  const { command, folder } = packages[name];
  const installed = process.env[programsVariable];
  return installed === undefined
    ? path.join(root, folder, 'bin', `${command}.js`)
    : path.join(installed, 'node_modules', name, `${command}.js`);
}
