import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build, type OutputChunk } from 'rolldown';

// Builds what is published into `dist/`: the gateway in one bundle without dependencies, its
// package.json, and the licences of what it contains.

/** The fields of a package.json that the build reads. */
interface Manifest {
  name: string;
  version: string;
  description?: string;
  license?: string;
  engines: { node: string };
}

const name = 'duragent-gateway-loopback';
const gateway = path.join(import.meta.dirname, '..');
const dist = path.join(gateway, 'dist');

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const { output } = await build({
  cwd: gateway,
  input: { main: 'src/main.ts' },
  platform: 'node',
  resolve: { conditionNames: ['@duragent/source', 'node', 'import', 'default'] },
  onLog(level, log, handle) {
    // Otherwise left for the user's machine to miss: nothing is installed beside the bundle.
    if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
    handle(level, log);
  },
  output: { dir: dist, format: 'esm', entryFileNames: 'chunks/[name].js' },
});
writeEntry();
for (const file of ['README.md', '../../LICENSE']) {
  cpSync(path.join(gateway, file), path.join(dist, path.basename(file)));
}
writeNotices(output.filter((file) => file.type === 'chunk'));
writeManifest();

/** The compile cache has to be on before the first file that is worth caching is loaded. */
function writeEntry(): void {
  const entry = `#!/usr/bin/env node
import module from 'node:module';
module.enableCompileCache?.();
await import('./chunks/main.js');
`;
  writeFileSync(path.join(dist, `${name}.js`), entry, { mode: 0o755 });
}

/** Licences ask to travel with the code: one section for each package that a chunk has code of. */
function writeNotices(chunks: OutputChunk[]): void {
  const folders = new Set(chunks.flatMap((chunk) => chunk.moduleIds.flatMap(packageFolder)));
  const sections = [...folders].map((folder) => {
    const { name: contained, version, license } = readManifest(folder);
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    if (license === undefined && files.length === 0) {
      throw new Error(`${contained} ${version} names no licence: it cannot be in the bundle.`);
    }
    const texts = files.map((file) => readFileSync(path.join(folder, file), 'utf8').trim());
    return [`${contained} ${version} (${license ?? 'see below'})`, ...texts].join('\n\n');
  });
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  const heading = `${name} contains code of these packages, each under its own licence.`;
  const text = [heading, ...sections.sort()].join(rule);
  writeFileSync(path.join(dist, 'THIRD-PARTY-NOTICES.txt'), `${text}\n`);
}

/** The folder of the installed package that a module belongs to; none for our own modules. */
function packageFolder(moduleId: string): string[] {
  const match = /^\0?(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(moduleId);
  return match?.[1] === undefined ? [] : [match[1]];
}

function writeManifest(): void {
  const { name: published, version, description, license, engines } = readManifest(gateway);
  const manifest = {
    name: published,
    version,
    description,
    license,
    type: 'module',
    engines,
    bin: { [name]: `./${name}.js` },
    files: readdirSync(dist).sort(),
    publishConfig: { access: 'public' },
  };
  writeFileSync(path.join(dist, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
}
