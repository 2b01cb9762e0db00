#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --conditions=@duragent/source --max-semi-space-size=8
// The command as it runs in this repository: from the sources, without a build. What is published
// has an entry of its own, written by scripts/build.ts.
import { spawnSync } from 'node:child_process';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const sourceCondition = '@duragent/source';
// Both as `start-server.ts` starts servers, and as the first line above says.
const heapOption = '--max-semi-space-size=8';
const oneArena = { MALLOC_ARENA_MAX: '1' };

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 16)) {
  console.error(
    `duragent needs Node 24.16 or newer, and this is Node ${process.versions.node}.\n` +
      'After "npm ci" in the repository, "npx duragent" runs it with the Node pinned there; ' +
      'elsewhere install Node 24 from https://nodejs.org.',
  );
  process.exit(1);
}

if (hasCondition()) {
  module.enableCompileCache();
  // Many sessions sync at once, each on a thread. Read when the first thread starts.
  process.env.UV_THREADPOOL_SIZE ??= '16';
  await import('../src/main.ts');
} else {
  runAgainWithCondition();
}

function hasCondition() {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''];
  return options.some((option) => option.includes(sourceCondition));
}

/** For those who typed `node bin/duragent.js`: where the system can, this process becomes the other one. */
function runAgainWithCondition() {
  const args = [
    `--conditions=${sourceCondition}`,
    heapOption,
    ...process.execArgv,
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ];
  const env = { ...oneArena, ...process.env };
  if (process.execve !== undefined) {
    // Its warning that it is experimental says nothing to who runs the command.
    process.removeAllListeners('warning');
    process.execve(process.execPath, [process.execPath, ...args], env);
  }
  const child = spawnSync(process.execPath, args, { stdio: 'inherit', env });
  if (child.error !== undefined) throw child.error;
  process.exit(child.status ?? 1);
}
