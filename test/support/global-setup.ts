import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { directoryVariable } from './javascript.ts';
import { describeMissing, missingFileVariable, requiredNeeds } from './needs.ts';

/** Refuses an old Node before the first test, and says at the end which optional tools were missing. */
export default function setup(): () => void {
  assertNode();
  requiredNeeds();
  const directory = mkdtempSync(path.join(tmpdir(), 'duragent-test-'));
  const file = path.join(directory, 'missing');
  process.env[missingFileVariable] = file;
  process.env[directoryVariable] = directory;
  // Programs in TypeScript that tests start again and again are translated once.
  process.env['NODE_COMPILE_CACHE'] = path.join(directory, 'compile-cache');
  return () => {
    const missing = describeMissing(file);
    rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
    if (missing.length > 0) {
      console.log(
        `\nSome tests were skipped. Missing or not working here:\n  ${missing.join('\n  ')}`,
      );
    }
  };
}

/** @throws Error that says what to do, when this Node is too old for the sources. */
export function assertNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 24 || (major === 24 && minor >= 16)) return;
  throw new Error(
    `Duragent needs Node 24.16 or newer, and this is Node ${process.versions.node}. ` +
      'Run the tests as "npm test" or "npx vitest run": after "npm ci" those find the pinned Node.',
  );
}
