import { createRequire } from 'node:module';
import path from 'node:path';
import type { Plugin } from 'rolldown';
import { bundlePackage } from '../../../scripts/bundle.ts';

// Builds what is published as `duragent`: the server and the command, with the starter files.
// Into `dist/`, or the folder that is named.

const folder = path.join(import.meta.dirname, '..');
const root = path.join(folder, '../..');

await bundlePackage({
  folder,
  into: process.argv[2],
  command: 'duragent',
  assets: ['apps/server/templates', 'README.md', 'LICENSE'].map((name) => path.join(root, name)),
  entries: { 'html-process': path.join(root, 'apps/server/src/adapters/web/html-process.ts') },
  plugins: [builtinsPartlyRead(), mimeTypesWhenAsked()],
  first: `// Many sessions sync at once, each on a thread. Read when the first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '16';
`,
  // depd, below koa, names its deprecated functions that way.
  ignored: ['EVAL'],
});

/**
 * `node:http` and `node:process` by `process.getBuiltinModule`. An `import` reads every export at
 * once, and some of these load what nobody asked for: a whole HTTP client with the first (16 ms and
 * 4 MB of each start), reports and standard input with the other (3 ms).
 */
function builtinsPartlyRead(): Plugin {
  const prefix = '\0builtin:';
  return {
    name: 'builtins-partly-read',
    resolveId: (id, _, { kind }) =>
      kind === 'import-statement' && /^(node:)?(http|process)$/.test(id)
        ? `${prefix}node:${id.replace('node:', '')}`
        : null,
    load(id) {
      if (!id.startsWith(prefix)) return null;
      const name = id.slice(prefix.length);
      const loaded = process.getBuiltinModule(name) as object;
      const values = Object.keys(loaded)
        .filter((key) => /^[A-Za-z]+$/.test(key))
        // What is pure and not imported is left out, and so not read.
        .map((key) => `export const ${key} = /* @__PURE__ */ (() => builtin.${key})();`);
      const first = `const builtin = process.getBuiltinModule('${name}');\nexport default builtin;`;
      return [first, ...values].join('\n');
    },
  };
}

/**
 * `mime-types`, which koa requires, read when it is first asked: each answer here names its
 * Content-Type, and so nobody asks. Its table, of which koa would load two versions, takes 10 ms.
 */
function mimeTypesWhenAsked(): Plugin {
  const name = 'mime-types';
  const file = createRequire(import.meta.url).resolve(name);
  return {
    name: 'mime-types-when-asked',
    resolveId: (id) => (id === name ? `\0${name}` : null),
    load(id) {
      if (id !== `\0${name}`) return null;
      return ['charset', 'contentType', 'extension', 'lookup']
        .map(
          (asked) =>
            `exports.${asked} = (text) => require(${JSON.stringify(file)}).${asked}(text);`,
        )
        .join('\n');
    },
  };
}
