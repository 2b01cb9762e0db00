import { isDeepStrictEqual } from 'node:util';
import { DuragentError } from '@duragent/protocol';
import {
  Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  visit,
  type Node,
  type YAMLMap,
} from 'yaml';
import type { AccessBook } from '../../ports/access-store.ts';
import {
  aliasFault,
  composeYaml,
  describeIssue,
  placeOf,
  startOf,
  type TextFault,
} from '../files/yaml-text.ts';
import { accessBookSchema } from './access-book.ts';

const MAX_FAULTS = 20;
const HEADING = ` Who was let in, and who asked to be. It may be edited while the server runs.`;

/** An access book, and the document that it was read from, with its comments. */
export interface ReadBook {
  book: AccessBook;
  document: Document;
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
    faults.push(...read.error.issues.flatMap((issue) => describeIssue(issue, document)));
  }
  const placed = faults
    .slice(0, MAX_FAULTS)
    .map(({ offset, message }) => ({ file, ...placeOf(lines, offset), message }));
  throw new DuragentError(
    'config_invalid',
    placed.map((each) => `${file}:${each.line}:${each.column}: ${each.message}`).join('\n'),
    { details: { faults: placed } },
  );
}

/** All that is wrong with a text before its schema is asked. */
function compose(
  text: string,
  lines: LineCounter,
): { document: Document.Parsed | null; faults: TextFault[] } {
  const { document, faults } = composeYaml(text, lines, { uniqueKeys: false });
  if (document === null) return { document, faults };
  if (document.directives.yaml.version !== '1.2') {
    faults.push({ offset: 0, message: 'this file is read as YAML 1.2; remove the line %YAML' });
  }
  visit(document, {
    Alias(_, alias) {
      faults.push(aliasFault(alias));
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
