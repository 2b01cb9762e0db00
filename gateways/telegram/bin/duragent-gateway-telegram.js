#!/usr/bin/env -S node --conditions=@duragent/source
// The gateway as it runs in this repository: from the sources, without a build. What is published
// has an entry of its own, written by scripts/build.ts.
import module from 'node:module';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';

const sourceCondition = '@duragent/source';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 16)) {
  process.stderr.write(
    `duragent-gateway-telegram needs Node 24.16 or newer, and this is Node ${process.versions.node}.\n` +
      'After "npm ci" in the repository, "npx duragent-gateway-telegram" runs it with the Node pinned there; ' +
      'elsewhere install Node 24 from https://nodejs.org.\n',
  );
  process.exit(1);
}

if (hasCondition()) {
  // The parser below fetch is WebAssembly: compiled once more for speed it takes 15 MB.
  v8.setFlagsFromString('--wasm-tiering-budget=1000000000');
  module.enableCompileCache();
  await import('../src/main.ts');
} else {
  // For those who typed `node bin/duragent-gateway-telegram.js`: this process becomes the other one.
  const args = [`--conditions=${sourceCondition}`, ...process.execArgv];
  const words = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  // Its warning that it is experimental says nothing to who runs the command.
  process.removeAllListeners('warning');
  process.execve(process.execPath, [process.execPath, ...args, ...words], process.env);
}

function hasCondition() {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''];
  return options.some((option) => option.includes(sourceCondition));
}
