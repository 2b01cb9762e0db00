import { isDeepStrictEqual } from 'node:util';
import { DuragentError } from '@duragent/protocol';
import {
  Composer,
  Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  visit,
  type CST,
  type Node,
  type ParsedNode,
  type YAMLMap,
} from 'yaml';
import type { z } from 'zod';
import type { AccessBook } from '../../ports/access-store.ts';
import { accessBookSchema } from './access-book.ts';

const MAX_LEVELS = 8;
const MAX_FAULTS = 20;
const COLLECTIONS: ReadonlySet<string> = new Set(['block-map', 'block-seq', 'flow-collection']);
const HEADING = ` Who was let in, and who asked to be. It may be edited while the server runs.`;

/** An access book, and the document that it was read from, with its comments. */
export interface ReadBook {
  book: AccessBook;
  document: Document;
}

interface Fault {
  offset: number;
  message: string;
}

/**
 * Reads an access book.
 * @param file how errors name it.
 * @throws DuragentError `config_invalid` with every fault, one a line as `file:line:column: text`.
 */
export function parseBook(text: string, file: string): ReadBook {
  const lines = new LineCounter();
  const { document, faults } = compose(text, lines);
  if (document !== null && faults.length === 0) {
    const read = accessBookSchema.safeParse(document.toJS() ?? {});
    if (read.success) return { book: read.data, document };
    faults.push(...read.error.issues.flatMap((issue) => describe(issue, document)));
  }
  const placed = faults.slice(0, MAX_FAULTS).map(({ offset, message }) => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), message };
  });
  throw new DuragentError(
    'config_invalid',
    placed.map((each) => `${file}:${each.line}:${each.column}: ${each.message}`).join('\n'),
    { details: { faults: placed } },
  );
}

/** As the library's `parseDocument`, but bounded: composing recurses, and compares keys with each other. */
function compose(
  text: string,
  lines: LineCounter,
): { document: Document.Parsed | null; faults: Fault[] } {
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.filter(({ type }) => COLLECTIONS.has(type)).length <= MAX_LEVELS) continue;
    const message = `nested more than ${MAX_LEVELS} levels deep; flatten it`;
    return { document: null, faults: [{ offset: parser.offset - lexeme.length, message }] };
  }
  tokens.push(...parser.end());
  const composer = new Composer({ schema: 'core', uniqueKeys: false });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (document === undefined) throw new Error('the YAML library composed nothing');
  const faults: Fault[] = [...document.errors, ...document.warnings].map(({ message, pos }) => ({
    offset: pos[0],
    message,
  }));
  if (second !== undefined) {
    const message = 'a second document begins here; one file holds one';
    faults.push({ offset: second.range[0], message });
  }
  if (document.directives.yaml.version !== '1.2') {
    faults.push({ offset: 0, message: 'this file is read as YAML 1.2; remove the line %YAML' });
  }
  visit(document, {
    Alias(_, alias) {
      faults.push({ offset: startOf(alias), message: 'write the value out instead of an alias' });
    },
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const value = isScalar(key) ? key.value : key;
        if (seen.has(value)) {
          const message = `the key ${JSON.stringify(value)} is there twice; remove one`;
          faults.push({ offset: startOf(key), message });
        }
        seen.add(value);
      }
    },
  });
  return { document, faults };
}

function describe(issue: z.core.$ZodIssue, document: Document.Parsed): Fault[] {
  const where = issue.path.join('.') || 'the file';
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      offset: keyOffset(document, issue.path, key),
      message: `unknown key ${JSON.stringify(key)}; remove it`,
    }));
  }
  const node = nodeAt(document, issue.path);
  if (node === undefined) {
    const parent = nodeAt(document, issue.path.slice(0, -1));
    return [{ offset: startOf(parent), message: `${where} is missing` }];
  }
  if (issue.code === 'invalid_type') {
    const isBare = issue.expected === 'string' && isScalar(node) && node.value !== null;
    const expected =
      { string: 'text', array: 'a list', object: 'a map of keys' }[issue.expected as string] ??
      issue.expected;
    const hint = isBare ? '; write it in quotes' : '';
    return [{ offset: startOf(node), message: `${where}: expected ${expected}${hint}` }];
  }
  return [{ offset: startOf(node), message: `${where}: ${issue.message}` }];
}

function nodeAt(document: Document.Parsed, path: readonly PropertyKey[]): Node | undefined {
  if (path.length === 0) return document.contents ?? undefined;
  return (document.getIn(path, true) ?? undefined) as Node | undefined;
}

function keyOffset(document: Document.Parsed, path: readonly PropertyKey[], key: string): number {
  const map = nodeAt(document, path);
  const keys = isMap(map) ? map.items.map((pair) => pair.key) : [];
  return startOf(keys.find((each) => isScalar(each) && String(each.value) === key) ?? map);
}

function startOf(node: unknown): number {
  return (node as ParsedNode | undefined)?.range?.[0] ?? 0;
}

/**
 * Writes a book into the document that was read, which is of no use afterwards: what is as before
 * keeps its text and its comments.
 * @returns the text, and what reading it gives.
 */
export function editBook(
  { book: before, document }: ReadBook,
  after: AccessBook,
): ReadBook & { text: string } {
  if (!isMap(document.contents)) {
    // A file of comments only, or none.
    document.contents = document.createNode({});
    if (document.comment === null) document.commentBefore ??= HEADING;
  }
  editList(document, 'pairings', before.pairings, after.pairings, identityOfPairing);
  editList(document, 'requests', before.requests, after.requests, ({ code }) => code);
  const edited = document.toString({ lineWidth: 0 });
  const plain = (): string => new Document({ ...after }).toString({ lineWidth: 0 });
  const read = readAs(edited, after) ?? readAs(plain(), after);
  if (read === null) throw new Error('the access book cannot be written as YAML');
  return read;
}

/** Reads a text that should say this book: comments in odd places may spoil it. */
function readAs(text: string, book: AccessBook): (ReadBook & { text: string }) | null {
  try {
    const read = parseBook(text, 'access.yaml');
    return isDeepStrictEqual(read.book, book) ? { ...read, text } : null;
  } catch (error) {
    if (error instanceof DuragentError) return null;
    throw error;
  }
}

function identityOfPairing({ agent, sender }: { agent: string; sender: string }): string {
  return JSON.stringify([agent, sender]);
}

function editList<T extends object>(
  document: Document,
  name: string,
  before: readonly T[],
  after: readonly T[],
  identify: (item: T) => string,
): void {
  if (isDeepStrictEqual(before, after) && document.has(name)) return;
  if (!isSeq(document.get(name))) document.set(name, document.createNode([]));
  const list = document.get(name);
  if (!isSeq(list)) throw new Error(`${name} is no list`);
  const nodes = new Map<string, { node: YAMLMap; value: T }[]>();
  before.forEach((value, index) => {
    const node = list.items[index];
    if (!isMap(node)) return;
    const identity = identify(value);
    nodes.set(identity, [...(nodes.get(identity) ?? []), { node, value }]);
  });
  if (before.length === 0) list.flow = false;
  list.items = after.map((value) => {
    const found = nodes.get(identify(value))?.shift();
    if (found === undefined) return makeItem(document, value);
    if (!isDeepStrictEqual(found.value, value)) editItem(document, found.node, value);
    return found.node;
  });
}

function makeItem(document: Document, value: object): Node {
  const node: Node = document.createNode(value);
  if (isMap(node)) for (const { value: member } of node.items) onOneLine(member);
  return node;
}

function editItem(document: Document, node: YAMLMap, value: object): void {
  for (const [key, member] of Object.entries<unknown>({ ...value })) {
    const current: unknown = node.get(key, true);
    const isSame = isNode(current) && isDeepStrictEqual(current.toJS(document), member);
    if (!isSame) node.set(key, onOneLine(document.createNode(member)));
  }
}

/** A chat is short. */
function onOneLine(node: unknown): unknown {
  if (isMap(node)) node.flow = true;
  return node;
}
