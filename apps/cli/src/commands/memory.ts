import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { DuragentError } from '@duragent/protocol';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { importServer } from '../server.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';

/**
 * `duragent memory export`: what an agent remembers, as Markdown files in a new folder that may become
 * a part of another workspace's folder of memory. Reads the files of this workspace: no server is needed.
 */
export async function exportMemory(
  context: CliContext,
  agent: string,
  options: { to?: string },
): Promise<ExitCode> {
  const { exportMemory: read, loadConfig } = await importServer();
  const { cwd, env } = context;
  const config = await loadConfig({ cwd, env });
  const folder = resolve(cwd, options.to ?? `${agent}-memory`);
  let count = 0;
  for await (const { path, text } of read(config, agent)) {
    // Only now: an agent that cannot be named so makes no folder.
    if (count === 0) await makeEmpty(folder);
    const file = join(folder, ...path.split('/'));
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(file, text, { flag: 'wx', mode: 0o600 });
    count += 1;
  }
  if (count === 0) {
    context.stderr.write(`There is no memory of ${sanitizeLine(agent)}: nothing was written.\n`);
    return 1;
  }
  if (!context.globals.quiet) {
    const shown = sanitizeLine(relative(cwd, folder) || '.');
    context.stdout.write(`Wrote ${count} ${count === 1 ? 'file' : 'files'} to ${shown}\n`);
  }
  return 0;
}

async function makeEmpty(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).length === 0) return;
  const message = `${folder} is not empty: name another folder with --to.`;
  throw new DuragentError('usage', message);
}
