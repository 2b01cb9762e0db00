import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Names the folder of one run of the tests, which goes with it; set by the global setup. */
export const directoryVariable = 'DURAGENT_TEST_DIRECTORY';

/**
 * The JavaScript of a program that imports from `node:` only: it starts in half the time. For one
 * that is started again and again by what hands no compile cache on, as a server does to gateways.
 * @returns its file
 */
export function javascriptOf(program: URL): string {
  const directory = process.env[directoryVariable];
  if (directory === undefined) return fileURLToPath(program);
  const text = stripTypeScriptTypes(readFileSync(program, 'utf8'));
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const name = path.basename(program.pathname, '.ts');
  const file = path.join(directory, `${name}-${hash}.mjs`);
  if (!existsSync(file)) {
    // Another worker may do the same.
    writeFileSync(`${file}.${process.pid}`, text);
    renameSync(`${file}.${process.pid}`, file);
  }
  return file;
}
