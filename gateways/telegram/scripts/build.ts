import path from 'node:path';
import type { Plugin } from 'rolldown';
import { bundlePackage } from '../../../scripts/bundle.ts';

// Builds what is published as `@duragent/gateway-telegram`: the gateway and its simulator.
// Into `dist/`, or the folder that is named.

const folder = path.join(import.meta.dirname, '..');

await bundlePackage({
  folder,
  into: process.argv[2],
  command: 'duragent-gateway-telegram',
  assets: [path.join(folder, 'README.md'), path.join(folder, '../../LICENSE')],
  plugins: [nodesOwnFetch()],
  first: `import v8 from 'node:v8';
// The parser below fetch is WebAssembly: compiled once more for speed it takes 15 MB.
v8.setFlagsFromString('--wasm-tiering-budget=1000000000');
`,
});

/** grammy brings a `fetch` of its own, which the gateway never uses: a third of what would be loaded. */
function nodesOwnFetch(): Plugin {
  const id = '\0node-fetch';
  return {
    name: 'nodes-own-fetch',
    resolveId: (wanted) => (wanted === 'node-fetch' ? id : null),
    load: (wanted) => (wanted === id ? 'export default globalThis.fetch;' : null),
  };
}
