import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { assertNode } from './global-setup.ts';
import { installPrograms, programsVariable } from './programs.ts';

/** Installs the programs for the tests of one run, from the sources as they are now. */
export default async function setup(): Promise<() => void> {
  // This comes before the setup of all tests.
  assertNode();
  const folder = mkdtempSync(path.join(tmpdir(), 'duragent-programs-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  try {
    await installPrograms(folder);
  } catch (error) {
    remove();
    throw error;
  }
  process.env[programsVariable] = folder;
  return remove;
}
