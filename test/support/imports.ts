import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSync, Visitor, type ESTree } from 'rolldown/utils';

/** A file of the repository; the path is relative to its root, with `/`. */
export interface Source {
  path: string;
  text: string;
}

/** A file's imports, and the globals and syntax that a rule may forbid it. */
export interface Facts {
  /** `specifier` is null for an `import()` of something that is no string. */
  imports: { specifier: string | null; typeOnly: boolean; line: number }[];
  /** Globals by their dotted names (`process.env`), and `async`, `await`, `Date()` and `new Date()` (without argument). */
  uses: { name: string; line: number }[];
}

/** All TypeScript files of our packages. */
export function readSources(root: string): Source[] {
  const files = globSync('{protocol,apps,gateways}/**/*.ts', {
    cwd: root,
    exclude: (name) => ['node_modules', 'dist'].includes(path.basename(name)),
  });
  return files.map((file) => ({
    path: file.replaceAll('\\', '/'),
    text: readFileSync(path.join(root, file), 'utf8'),
  }));
}

/**
 * What a file imports and uses, from its syntax tree. A local name that hides a global counts as
 * the global.
 * @throws Error when the file does not parse.
 */
export function readFacts({ path: file, text }: Source): Facts {
  const { program, errors } = parseSync(file, text);
  if (errors[0] !== undefined) throw new Error(`${file}: ${errors[0].message}`);
  const imports: Facts['imports'] = [];
  const uses: Facts['uses'] = [];

  const lineOf = (node: ESTree.Span): number => text.slice(0, node.start).split('\n').length;
  const addImport = (node: ESTree.Span, specifier: string | null, typeOnly: boolean): void => {
    imports.push({ specifier, typeOnly, line: lineOf(node) });
  };
  const addUse = (node: ESTree.Span, name: string | undefined): void => {
    if (name !== undefined) uses.push({ name, line: lineOf(node) });
  };
  const addAsync = (node: ESTree.Function | ESTree.ArrowFunctionExpression): void => {
    if (node.async) addUse(node, 'async');
  };
  /** A global that is called, given as an argument or kept in a variable. */
  const addPlainName = (node: ESTree.Node | null): void => {
    if (node?.type === 'Identifier') addUse(node, node.name);
  };

  new Visitor({
    ImportDeclaration(node) {
      const kinds = node.specifiers.map((it) => 'importKind' in it && it.importKind);
      addImport(node, node.source.value, isTypeOnly(node.importKind, kinds));
    },
    ExportNamedDeclaration(node) {
      if (node.source === null) return;
      const kinds = node.specifiers.map((it) => it.exportKind);
      addImport(node, node.source.value, isTypeOnly(node.exportKind, kinds));
    },
    ExportAllDeclaration(node) {
      addImport(node, node.source.value, node.exportKind === 'type');
    },
    ImportExpression(node) {
      addImport(node, stringOf(node.source), false);
    },
    TSImportType(node) {
      addImport(node, node.source.value, true);
    },
    FunctionDeclaration: addAsync,
    FunctionExpression: addAsync,
    ArrowFunctionExpression: addAsync,
    AwaitExpression(node) {
      addUse(node, 'await');
    },
    ForOfStatement(node) {
      if (node.await) addUse(node, 'await');
    },
    VariableDeclaration(node) {
      if (node.kind === 'await using') addUse(node, 'await');
    },
    VariableDeclarator({ id, init }) {
      addPlainName(init);
      if (init === null || id.type !== 'ObjectPattern') return;
      const name = dottedName(init);
      for (const property of id.properties) {
        if (name === undefined || property.type !== 'Property') continue;
        if (property.key.type === 'Identifier') {
          addUse(property, withoutGlobalThis(`${name}.${property.key.name}`));
        }
      }
    },
    MemberExpression(node) {
      addUse(node, globalName(node));
    },
    CallExpression(node) {
      const name = globalName(node.callee);
      if (name === 'Date') addUse(node, 'Date()');
      if (name === 'require') addImport(node, stringOf(node.arguments[0]), false);
      [node.callee, ...node.arguments].forEach(addPlainName);
    },
    NewExpression(node) {
      const isNow = node.arguments.length === 0 && globalName(node.callee) === 'Date';
      if (isNow) addUse(node, 'new Date()');
      node.arguments.forEach(addPlainName);
    },
  }).visit(program);
  return { imports, uses };
}

/** `import type { A }` or `import { type A }`; an import without names is for its effects. */
function isTypeOnly(kind: string | undefined, kinds: unknown[]): boolean {
  return kind === 'type' || (kinds.length > 0 && kinds.every((it) => it === 'type'));
}

function stringOf(node: ESTree.Node | undefined): string | null {
  return node?.type === 'Literal' && typeof node.value === 'string' ? node.value : null;
}

function globalName(node: ESTree.Node): string | undefined {
  const name = dottedName(node);
  return name === undefined ? undefined : withoutGlobalThis(name);
}

function withoutGlobalThis(name: string): string {
  return name.replace(/^globalThis\./, '');
}

/** `a.b.c` for a chain of names, whether written `a.b.c`, `a?.b.c` or `a['b'].c`. */
function dottedName(node: ESTree.Node): string | undefined {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'ChainExpression') return dottedName(node.expression);
  if (node.type !== 'MemberExpression') return undefined;
  const object = dottedName(node.object);
  const property =
    node.property.type === 'Identifier' && !node.computed
      ? node.property.name
      : stringOf(node.property);
  return object === undefined || property === null ? object : `${object}.${property}`;
}
