import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Plugin } from 'rolldown';
import { bundlePackage } from '../../../scripts/bundle.ts';

// Builds what is published as `duragent`: the server and the command, with the starter files.

const folder = path.join(import.meta.dirname, '..');
const root = path.join(folder, '../..');

await bundlePackage({
  folder,
  command: 'duragent',
  assets: ['apps/server/templates', 'README.md', 'LICENSE'].map((name) => path.join(root, name)),
  entries: { 'html-process': path.join(root, 'apps/server/src/adapters/web/html-process.ts') },
  plugins: [httpWithoutClient(), mimeTypesWhenAsked()],
  first: `// Many sessions sync at once, each on a thread. Read when the first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '16';
`,
  // depd, below koa, names its deprecated functions that way.
  ignored: ['EVAL'],
});

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
