import { isBuiltin } from 'node:module';
import path from 'node:path';
import { readFacts, type Source } from './imports.ts';

/**
 * One row of the table "who may import whom".
 *
 * What is imported is named `<room>/<file>`, `node:<module>` or `npm:<package>`. An entry covers
 * what is below it (`core` covers `core/session/decide.ts`), one that ends in `*` all that begins
 * so, and `{own}` is what the `*` of this row's `files` stands for.
 */
export interface Row {
  /** The room's name; its `*` is what the one in `files` stands for. */
  room: string;
  /** The folder, or the one file, that is the room. Where two fit, the earlier row counts. */
  files: string;
  allowed: string[];
  /** What may be imported as a type, and only so. */
  types?: string[];
  /** What may not be imported, though `allowed` covers it. */
  forbidden: string[];
  /** Globals and syntax that may not be used, by the names that `readFacts` gives them. */
  never?: string[];
}

/** A use that is right in few places. */
export interface OnlyIn {
  use: string;
  /** The folders where the rule holds. */
  under: string[];
  /** The rooms, or parts of rooms, where the use is right. */
  rooms: string[];
}

export interface Table {
  rows: Row[];
  onlyIn: OnlyIn[];
  /** The file that is meant when a package of ours is imported by its name; `*` stands for one word. */
  packages: Record<string, string>;
}

/** A file within the table. */
interface Place {
  row: Row;
  /** What the `*` of the row stands for here. */
  own: string;
  room: string;
  /** The file as entries name it. */
  name: string;
}

/** Tests, what they share, and the suites that adapters pass: they may import more, and use what they like. */
const testFile = /\.(test|contract|testing)\.ts$|\/testing\.ts$/;
const forTests = ['npm:vitest', 'npm:fast-check', 'node:*', 'test'];

const packageFolder = /^(protocol|apps\/[^/]+|gateways\/[^/]+)\//;

/** A sentence for each thing that a file does against the table. Files outside of `src` are tooling. */
export function checkSource(table: Table, source: Source): string[] {
  const place = locate(table, source.path);
  if (place === undefined) {
    const folder = packageFolder.exec(source.path)?.[0];
    const isProduct = folder !== undefined && source.path.startsWith(`${folder}src/`);
    return isProduct ? [`${source.path}: is in no room of the table`] : [];
  }
  const facts = readFacts(source);
  const isTest = testFile.test(source.path);
  const faults = facts.imports.map(({ specifier, typeOnly, line }) => ({
    line,
    fault:
      specifier === null
        ? 'import() takes a string, so that this test can read it'
        : checkImport(table, place, source.path, specifier, typeOnly),
  }));
  if (!isTest) {
    const uses = facts.uses.map(({ name, line }) => ({
      line,
      fault: checkUse(table, place, source.path, name),
    }));
    faults.push(...uses);
  }
  const found = faults.filter(({ fault }) => fault !== undefined);
  return [...new Set(found.map(({ line, fault }) => `${source.path}:${line}: ${fault}`))];
}

/** The files, tests apart, that import what `specifier` names. */
export function importersOf(specifier: string, sources: Source[]): string[] {
  return sources
    .filter((source) => !testFile.test(source.path))
    .filter((source) => readFacts(source).imports.some((it) => it.specifier === specifier))
    .map((source) => source.path);
}

function checkImport(
  table: Table,
  { row, own, room }: Place,
  from: string,
  specifier: string,
  typeOnly: boolean,
): string | undefined {
  const target = resolve(table, from, specifier);
  const isAmong = (entries: string[] = []): boolean =>
    entries.some((entry) => covers(entry.replace('{own}', own), target.name));

  if (testFile.test(from)) {
    if (isAmong(forTests)) return undefined;
    if (from.startsWith('apps/server/') && isAmong(serverAsAWhole(table))) return undefined;
  } else if (target.file !== undefined && testFile.test(target.file)) {
    return `${target.name} is for tests`;
  }
  if (specifier.startsWith('.') && target.file !== undefined) {
    // What belongs to no package, like the workspace's scripts, has no name to be imported by.
    const folder = packageFolder.exec(target.file)?.[0];
    const leaves = folder !== undefined && folder !== packageFolder.exec(from)?.[0];
    if (leaves) return `${target.name} is in another package: import that by its name`;
  }
  if (isAmong(row.forbidden)) return `${room} never imports ${target.name}`;
  if (isAmong(row.allowed)) return undefined;
  if (isAmong(row.types)) {
    return typeOnly ? undefined : `${room} imports types of ${target.name}, never values`;
  }
  return `${room} may not import ${target.name}`;
}

function checkUse(
  table: Table,
  { row, room, name }: Place,
  file: string,
  use: string,
): string | undefined {
  const isUse = (rule: string): boolean => use === rule || use.startsWith(`${rule}.`);
  if (row.never?.some(isUse)) return `${room} never uses ${use}`;
  for (const rule of table.onlyIn) {
    if (!isUse(rule.use) || !rule.under.some((folder) => file.startsWith(`${folder}/`))) continue;
    const isRight = rule.rooms.some((entry) => covers(entry, name));
    if (!isRight) return `${room} does not use ${rule.use}: only ${rule.rooms.join(', ')} may`;
  }
  return undefined;
}

/** Every room of the server and its dependencies: a test may wire what only main.ts wires otherwise. */
function serverAsAWhole(table: Table): string[] {
  const rows = table.rows.filter((row) => row.files.startsWith('apps/server/'));
  return [...rows.map((row) => row.room.replace('/*', '')), 'npm:*'];
}

function covers(entry: string, name: string): boolean {
  if (entry.endsWith('*')) return name.startsWith(entry.slice(0, -1));
  return name === entry || name.startsWith(`${entry}/`);
}

function locate(table: Table, file: string): Place | undefined {
  for (const row of table.rows) {
    const match = wildcard(row.files, '(?=/|$)').exec(file);
    if (match === null) continue;
    const own = match[1] ?? '';
    const room = row.room.replace('*', own);
    return { row, own, room, name: room + file.slice(match[0].length) };
  }
  return undefined;
}

/** What a specifier means: its name in the table, and the file when it is ours. */
function resolve(table: Table, from: string, specifier: string): { name: string; file?: string } {
  let file: string | undefined;
  if (specifier.startsWith('.')) file = path.posix.join(path.posix.dirname(from), specifier);
  for (const [name, target] of Object.entries(table.packages)) {
    const match = wildcard(name, '$').exec(specifier);
    if (match !== null) file = target.replace('*', match[1] ?? '');
  }
  if (file !== undefined) return { name: locate(table, file)?.name ?? file, file };
  if (isBuiltin(specifier)) return { name: `node:${specifier.replace(/^node:/, '')}` };
  return { name: `npm:${specifier}` };
}

function wildcard(pattern: string, end: string): RegExp {
  const escaped = pattern.replaceAll(/[.@]/g, '\\$&').replace('*', '([^/]*)');
  return new RegExp(`^${escaped}${end}`);
}
