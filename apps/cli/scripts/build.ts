import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { build, type OutputChunk, type Plugin } from 'rolldown';

// Builds what is published as `duragent` into `dist/`: the server and the command in one bundle
// without dependencies, its package.json, the starter files and the licences of what it contains.

/** The fields of a package.json that the build reads. */
interface Manifest {
  name: string;
  version: string;
  description?: string;
  license?: string;
  engines: { node: string };
}

const cli = path.join(import.meta.dirname, '..');
const root = path.join(cli, '../..');
const templates = path.join(root, 'apps/server/templates');
const dist = path.join(cli, 'dist');
const manifest = readManifest(cli);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const chunks = await bundle();
writeEntry();
copyAssets();
writeNotices(chunks);
writeManifest();

/** What is imported dynamically (providers, commands) becomes a file of its own, read when first used. */
async function bundle(): Promise<OutputChunk[]> {
  const { output } = await build({
    cwd: cli,
    input: { main: 'src/main.ts' },
    platform: 'node',
    plugins: [httpWithoutClient()],
    resolve: { conditionNames: ['@duragent/source', 'node', 'import', 'default'] },
    onLog(level, log, handle) {
      // Otherwise left for the user's machine to miss: nothing is installed beside the bundle.
      if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
      // depd, below koa, names its deprecated functions that way.
      if (log.code === 'EVAL') return;
      handle(level, log);
    },
    output: {
      dir: dist,
      format: 'esm',
      // One level down: `../templates/` leads from here and from apps/server/src to the same files.
      entryFileNames: 'chunks/[name].js',
      chunkFileNames: 'chunks/[name]-[hash].js',
    },
  });
  return output.filter((file) => file.type === 'chunk');
}

/**
 * `node:http` by `process.getBuiltinModule`. An `import` of it reads every export at once, and some
 * of these load a whole HTTP client that nobody asked for: 16 ms and 4 MB of each start.
 */
function httpWithoutClient(): Plugin {
  const prefix = '\0builtin:';
  return {
    name: 'http-without-client',
    resolveId: (id, _, { kind }) =>
      kind === 'import-statement' && /^(node:)?http$/.test(id) ? `${prefix}node:http` : null,
    load(id) {
      if (id !== `${prefix}node:http`) return null;
      const values = Object.entries(Object.getOwnPropertyDescriptors(http))
        .filter(([name, { get }]) => get === undefined && /^[A-Za-z]+$/.test(name))
        .map(([name]) => `export const ${name} = http.${name};`);
      const first = "const http = process.getBuiltinModule('node:http');\nexport default http;";
      return [first, ...values].join('\n');
    },
  };
}

/** The compile cache has to be on before the first file that is worth caching is loaded. */
function writeEntry(): void {
  const needed = manifest.engines.node.replace('>=', '');
  const [major, minor] = needed.split('.');
  const entry = `#!/usr/bin/env node
import module from 'node:module';
module.enableCompileCache?.();
// Many sessions sync at once, each on a thread. Read when the first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '16';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > ${major} || (major === ${major} && minor >= ${minor})) {
  await import('./chunks/main.js');
} else {
  console.error(
    \`duragent needs Node ${needed} or newer, and this is Node \${process.versions.node}.\\n\` +
      'Install Node ${major} or newer from https://nodejs.org, then run it again.',
  );
  process.exitCode = 1;
}
`;
  writeFileSync(path.join(dist, 'duragent.js'), entry, { mode: 0o755 });
}

function copyAssets(): void {
  if (existsSync(templates)) cpSync(templates, path.join(dist, 'templates'), { recursive: true });
  for (const name of ['README.md', 'LICENSE']) {
    if (existsSync(path.join(root, name))) cpSync(path.join(root, name), path.join(dist, name));
  }
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
  const heading = 'duragent contains code of these packages, each under its own licence.';
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
    bin: { duragent: './duragent.js' },
    files: readdirSync(dist).sort(),
    publishConfig: { access: 'public' },
  };
  writeFileSync(path.join(dist, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
}
