import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build, type OutputChunk, type Plugin } from 'rolldown';

/** The fields of a package.json that a build reads. */
interface Manifest {
  name: string;
  version: string;
  description?: string;
  license?: string;
  engines: { node: string };
}

/** A package that is published as one bundle of its `src/main.ts`. */
export interface Bundled {
  /** The package's folder. */
  folder: string;
  /** Where the bundle goes, made anew; without it, the package's `dist/`. */
  into?: string | undefined;
  /** The command that it brings. */
  command: string;
  /** What is copied beside the bundle, each a file or folder of any place. */
  assets: readonly string[];
  /** Files that are started as processes of their own, by their names in the bundle. */
  entries?: Readonly<Record<string, string>>;
  plugins?: Plugin[];
  /** Lines of the entry that have to run before anything is loaded; they import from `node:` only. */
  first?: string;
  /** Codes of the bundler's warnings that say nothing here. */
  ignored?: readonly string[];
}

/**
 * Builds a package: one bundle without dependencies, an entry that checks the Node
 * it runs on, its package.json, its assets, and the licences of what the bundle contains.
 */
export async function bundlePackage(bundled: Bundled): Promise<void> {
  const dist = path.resolve(bundled.into ?? path.join(bundled.folder, 'dist'));
  const manifest = readManifest(bundled.folder);
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist, { recursive: true });
  const chunks = await bundle(bundled, dist);
  writeEntry(bundled, manifest, dist);
  for (const asset of bundled.assets) {
    cpSync(asset, path.join(dist, path.basename(asset)), { recursive: true });
  }
  writeNotices(manifest.name, chunks, dist);
  writeManifest(bundled.command, manifest, dist);
}

/** What is imported dynamically becomes a file of its own, read when first used. */
async function bundle(
  { folder, entries = {}, plugins = [], ignored = [] }: Bundled,
  dist: string,
): Promise<OutputChunk[]> {
  const { output } = await build({
    cwd: folder,
    input: { main: 'src/main.ts', ...entries },
    platform: 'node',
    plugins: [...plugins, ascii()],
    resolve: { conditionNames: ['@duragent/source', 'node', 'import', 'default'] },
    onLog(level, log, handle) {
      // Otherwise left for the user's machine to miss: nothing is installed beside the bundle.
      if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
      if (!ignored.includes(log.code ?? '')) handle(level, log);
    },
    output: {
      dir: dist,
      format: 'esm',
      // One level down: what is beside `src/` is found from here by the same path.
      entryFileNames: 'chunks/[name].js',
      chunkFileNames: 'chunks/[name]-[hash].js',
      comments: { jsdoc: false, annotation: false },
    },
  });
  return output.filter((file) => file.type === 'chunk');
}

/** Writes letters beyond ASCII as escapes: a file that has one takes two bytes for each letter, in memory too. */
function ascii(): Plugin {
  return {
    name: 'ascii',
    generateBundle(_, files) {
      for (const file of Object.values(files)) {
        // After a backslash an escape would be none: that file stays as it is.
        if (file.type !== 'chunk' || /\\[^\0-\x7f]/.test(file.code)) continue;
        file.code = file.code.replaceAll(/[^\0-\x7f]/g, escaped);
      }
    },
  };
}

/** A UTF-16 unit as strings, templates, regular expressions and names write it. */
function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The compile cache has to be on before the first file that is worth caching is loaded. */
function writeEntry({ command, first = '' }: Bundled, { engines }: Manifest, dist: string): void {
  const needed = engines.node.replace('>=', '');
  const [major, minor] = needed.split('.');
  const entry = `#!/usr/bin/env node
import module from 'node:module';
${first}module.enableCompileCache?.();

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

/** Licences ask to travel with the code: one section for each package that a chunk has code of. */
function writeNotices(owner: string, chunks: readonly OutputChunk[], dist: string): void {
  const folders = new Set(chunks.flatMap((chunk) => chunk.moduleIds.flatMap(packageFolder)));
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
  const heading = `${owner} contains code of these packages, each under its own licence.`;
  const text = [heading, ...sections.sort()].join(rule);
  writeFileSync(path.join(dist, 'THIRD-PARTY-NOTICES.txt'), `${text}\n`);
}

/** The folder of the installed package that a module belongs to; none for our own modules. */
function packageFolder(moduleId: string): string[] {
  const match = /^\0?(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(moduleId);
  return match?.[1] === undefined ? [] : [match[1]];
}

function writeManifest(command: string, manifest: Manifest, dist: string): void {
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
