import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { refusedVariable } from '../../core/child-environment.ts';
import { SERVER_ENVIRONMENT, type SandboxHarness } from '../../ports/sandbox.contract.ts';
import type { SandboxPlaces } from './bubblewrap.ts';
import { openSandbox, type SandboxOptions } from './open-sandbox.ts';

/** A folder that no sandbox hides because of where it lies, unlike one in /tmp. The test removes it. */
export async function testFolder(): Promise<string> {
  const parent = path.join(import.meta.dirname, '../../../../../node_modules/.cache');
  await mkdir(parent, { recursive: true });
  return realpath(await mkdtemp(path.join(parent, 'sandbox-')));
}

/** A sandbox over a workspace of its own. */
export async function testSandboxHarness(
  options: Pick<SandboxOptions, 'mode' | 'platform' | 'baseEnv' | 'onProven'> & {
    places?: Partial<SandboxPlaces>;
  },
): Promise<SandboxHarness & { dataDir: string; root: string }> {
  const root = await testFolder();
  const workspace = path.join(root, 'workspace');
  const dataDir = path.join(root, 'data');
  const elsewhere = path.join(root, 'elsewhere');
  for (const folder of [workspace, dataDir, elsewhere]) await mkdir(folder);
  const none = { homes: [], envFolders: [], hidden: [], readOnly: [], reserved: [] };
  const sandbox = await openSandbox({
    ...options,
    places: { workspace, dataDir, ...none, ...options.places },
    isRefusedVariable: refusedVariable,
  }).catch(async (error: unknown) => {
    await rm(root, { recursive: true });
    throw error;
  });
  const dispose = async (): Promise<void> => {
    await sandbox[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  };
  return { sandbox, workspace, elsewhere, dispose, dataDir, root };
}

/** The environment of a server in tests. */
export const baseEnv = SERVER_ENVIRONMENT;
