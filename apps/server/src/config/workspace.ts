import { DuragentError } from '@duragent/protocol';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorCode } from './text-file.ts';

const STARTER = 'assistant';

/**
 * Makes a data directory (0700, its files 0600) with its .gitignore, a policy and, where there is no
 * agent yet, the starter agent. What exists is left as it is.
 * @param options.agentsDir where agents lie, if not in the data directory.
 * @returns absolute paths of what was made; empty: everything was there.
 */
export async function createWorkspace(
  dataDir: string,
  { agentsDir = join(dataDir, 'agents') }: { agentsDir?: string } = {},
): Promise<string[]> {
  const templates = join(templatesDir(), 'workspace');
  const made: string[] = [];
  await makeFolder(dataDir, made);
  // Packages are published without files of this name.
  await copyFile(join(templates, 'gitignore'), join(dataDir, '.gitignore'), made);
  await copyFile(join(templates, 'policy.yaml'), join(dataDir, 'policy.yaml'), made);
  await makeFolder(agentsDir, made);
  if (await holdsFolders(agentsDir)) return made;
  await copyStarter(join(templates, 'agents', STARTER), join(agentsDir, STARTER), made);
  return made;
}

/** Where the files of new workspaces lie: beside the bundle, or beside `src`. */
function templatesDir(): string {
  const candidates = ['../templates/', '../../templates/'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const found = candidates.find((path) => existsSync(path));
  if (found !== undefined) return found;
  const message = `the starter files are in none of ${candidates.join(', ')}; install Duragent again`;
  throw new DuragentError('failed', message);
}

async function makeFolder(path: string, made: string[]): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first !== undefined) made.push(path);
}

/** The whole agent appears at once, also when another command makes the same workspace. */
async function copyStarter(from: string, to: string, made: string[]): Promise<void> {
  const beside = await mkdtemp(join(dirname(to), '.starter-'));
  try {
    const names = await readdir(from);
    for (const name of names) await copyFile(join(from, name), join(beside, name), []);
    await rename(beside, to);
    made.push(to, ...names.map((name) => join(to, name)));
  } catch (cause) {
    await rm(beside, { recursive: true, force: true });
    if (errorCode(cause) !== 'ENOTEMPTY' && errorCode(cause) !== 'EEXIST') throw cause;
  }
}

async function copyFile(from: string, to: string, made: string[]): Promise<void> {
  try {
    await writeFile(to, await readFile(from), { flag: 'wx', mode: 0o600 });
    made.push(to);
  } catch (cause) {
    if (errorCode(cause) !== 'EEXIST') throw cause;
  }
}

async function holdsFolders(dir: string): Promise<boolean> {
  const entries = await readdir(dir, { withFileTypes: true });
  return entries.some((entry) => !entry.name.startsWith('.') && !entry.isFile());
}
