import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/** The file that a command means, or why there is none, in words for people. */
export type FoundCommand = { file: string } | { file: null; reason: string };

/**
 * Finds a command: an absolute path, or a name in the folders of PATH and then in `binDirs`.
 * Relative folders of PATH are passed over.
 */
export async function findCommand(
  command: string,
  options: { path: string; binDirs: readonly string[] },
): Promise<FoundCommand> {
  if (path.isAbsolute(command)) {
    const fault = await faultOf(command);
    return fault === null
      ? { file: command }
      : { file: null, reason: `the command ${command} ${fault}` };
  }
  if (command === '' || command.includes('/')) {
    const reason = `the command "${command}" is neither a name nor an absolute path: correct it in duragent.yaml`;
    return { file: null, reason };
  }
  const dirs = [...options.path.split(path.delimiter), ...options.binDirs];
  let reason = `the command "${command}" is neither on PATH nor in node_modules/.bin: install it, or write its path into duragent.yaml`;
  for (const dir of dirs) {
    if (!path.isAbsolute(dir)) continue;
    const file = path.join(dir, command);
    const fault = await faultOf(file);
    if (fault === null) return { file };
    if (fault !== MISSING) reason = `the command ${file} ${fault}`;
  }
  return { file: null, reason };
}

const MISSING = 'does not exist: install it, or correct its path in duragent.yaml';

/** Why this cannot be run; null: it can. */
async function faultOf(file: string): Promise<string | null> {
  try {
    if (!(await stat(file)).isFile()) return 'is no file: correct its path in duragent.yaml';
  } catch {
    return MISSING;
  }
  try {
    await access(file, constants.X_OK);
    return null;
  } catch {
    return `may not be run: chmod +x ${file}`;
  }
}
