import { basename, join, relative, resolve } from 'node:path';
import { isInteractive, type CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { importServer } from '../server.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';

/** `duragent init`: makes what a workspace needs and is not there yet; nothing that exists is changed. */
export async function init(
  context: CliContext,
  path: string | undefined,
  options: { interactive: boolean },
): Promise<ExitCode> {
  const { createWorkspace, loadConfig } = await importServer();
  const { cwd, env } = context;
  const config = path === undefined ? await loadConfig({ cwd, env }) : null;
  const dataDir = config?.dataDir ?? inFolder(resolve(cwd, path ?? ''));
  const agentsDir = config?.agents.path ?? join(dataDir, 'agents');
  if (options.interactive && isInteractive(context)) {
    const { confirm } = await import('@clack/prompts');
    const answer = await confirm({
      message: `Make a workspace with a starter agent in ${sanitizeLine(dataDir)}?`,
    });
    if (answer !== true) {
      context.stderr.write('Nothing was made.\n');
      return 1;
    }
  }
  const created = await createWorkspace(dataDir, { agentsDir });
  if (context.globals.quiet) return 0;
  const shown = created.map((one) => `  ${sanitizeLine(relative(cwd, one) || '.')}\n`);
  context.stdout.write(
    created.length === 0
      ? `The workspace is complete already: ${sanitizeLine(dataDir)}\n`
      : `Made:\n${shown.join('')}`,
  );
  context.stdout.write('Next: duragent chat\n');
  return 0;
}

function inFolder(folder: string): string {
  return basename(folder) === '.duragent' ? folder : join(folder, '.duragent');
}
