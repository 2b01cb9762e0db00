import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { build, type OutputChunk, type Plugin } from 'rolldown';

// Builds what is published as `@duragent/gateway-telegram` into `dist/`: the gateway and its
// simulator in one bundle without dependencies, its package.json, and the licences of what it contains.

/** The fields of a package.json that the build reads. */
interface Manifest {
  name: string;
  version: string;
  description?: string;
  license?: string;
  engines: { node: string };
}

const command = 'duragent-gateway-telegram';
const gateway = path.join(import.meta.dirname, '..');
const root = path.join(gateway, '../..');
const dist = path.join(gateway, 'dist');
const manifest = readManifest(gateway);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const chunks = await bundle();
writeEntry();
copyAssets();
writeNotices(chunks);
writeManifest();

/** What is imported dynamically (the parser, the simulator) becomes a file of its own, read when first used. */
async function bundle(): Promise<OutputChunk[]> {
  const { output } = await build({
    cwd: gateway,
    input: { main: 'src/main.ts' },
    platform: 'node',
    plugins: [nodesOwnFetch()],
    resolve: { conditionNames: ['@duragent/source', 'node', 'import', 'default'] },
    onLog(level, log, handle) {
      // Otherwise left for the user's machine to miss: nothing is installed beside the bundle.
      if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
      handle(level, log);
    },
    output: {
      dir: dist,
      format: 'esm',
      // One level down: `../package.json` leads from here and from src to the package's own.
      entryFileNames: 'chunks/[name].js',
      chunkFileNames: 'chunks/[name]-[hash].js',
    },
  });
  return output.filter((file) => file.type === 'chunk');
}

/** grammy brings a `fetch` of its own, which the gateway never uses: a third of what would be loaded. */
function nodesOwnFetch(): Plugin {
  const id = '\0node-fetch';
  return {
    name: 'nodes-own-fetch',
    resolveId: (wanted) => (wanted === 'node-fetch' ? id : null),
    load: (wanted) => (wanted === id ? 'export default globalThis.fetch;' : null),
  };
}

/** The compile cache has to be on before the first file that is worth caching is loaded. */
function writeEntry(): void {
  const needed = manifest.engines.node.replace('>=', '');
  const [major, minor] = needed.split('.');
  const entry = `#!/usr/bin/env node
import module from 'node:module';
import v8 from 'node:v8';
// The parser below fetch is WebAssembly: compiled once more for speed it takes 15 MB.
v8.setFlagsFromString('--wasm-tiering-budget=1000000000');
module.enableCompileCache?.();

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > ${major} || (major === ${major} && minor >= ${minor})) {
  await import('./chunks/main.js');
} else {
  console.error(
    \`${command} needs Node ${needed} or newer, and this is Node \${process.versions.node}.\\n\` +
      'Install Node ${major} or newer from https://nodejs.org, then run it again.',
  );
  process.exitCode = 1;
}
`;
  writeFileSync(path.join(dist, `${command}.js`), entry, { mode: 0o755 });
}

function copyAssets(): void {
  cpSync(path.join(gateway, 'README.md'), path.join(dist, 'README.md'));
  const licence = path.join(root, 'LICENSE');
  if (existsSync(licence)) cpSync(licence, path.join(dist, 'LICENSE'));
}

/** Licences ask to travel with the code: one section for each package that a chunk has code of. */
function writeNotices(bundled: OutputChunk[]): void {
  const folders = new Set(bundled.flatMap((chunk) => chunk.moduleIds.flatMap(packageFolder)));
  const sections = [...folders].map((folder) => {
    const { name, version, license } = readManifest(folder);
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    if (license === undefined && files.length === 0) {
      throw new Error(`${name} ${version} names no licence: it cannot be published in the bundle.`);
    }
    const texts = files.map((file) => readFileSync(path.join(folder, file), 'utf8').trim());
    return [`${name} ${version} (${license ?? 'see below'})`, ...texts].join('\n\n');
  });
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  const heading = `${manifest.name} contains code of these packages, each under its own licence.`;
  const text = [heading, ...sections.sort()].join(rule);
  writeFileSync(path.join(dist, 'THIRD-PARTY-NOTICES.txt'), `${text}\n`);
}

/** The folder of the installed package that a module belongs to; none for our own modules. */
function packageFolder(moduleId: string): string[] {
  const match = /^\0?(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(moduleId);
  return match?.[1] === undefined ? [] : [match[1]];
}

function writeManifest(): void {
  const { name, version, description, license, engines } = manifest;
  const published = {
    name,
    version,
    description,
    license,
    type: 'module',
    engines,
    bin: { [command]: `./${command}.js` },
    files: readdirSync(dist).sort(),
    publishConfig: { access: 'public' },
  };
  writeFileSync(path.join(dist, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
}
