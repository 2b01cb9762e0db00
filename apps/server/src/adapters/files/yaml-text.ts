import {
  Composer,
  isMap,
  isScalar,
  Lexer,
  type LineCounter,
  Parser,
  type CST,
  type Document,
  type Node,
  type ParsedNode,
} from 'yaml';
import type { z } from 'zod';

const MAX_LEVELS = 8;
const COLLECTIONS: ReadonlySet<string> = new Set(['block-map', 'block-seq', 'flow-collection']);

/** What is wrong with a text, and where. */
export interface TextFault {
  offset: number;
  message: string;
}

/**
 * As the library's `parseDocument`, but bounded: composing recurses.
 * @param lines what is told where the lines begin.
 * @param options.uniqueKeys whether the library looks for keys that are there twice: it compares each with each other.
 * @returns null for the document of a text that is nested too deep.
 */
export function composeYaml(
  text: string,
  lines: LineCounter,
  options: { uniqueKeys: boolean },
): { document: Document.Parsed; faults: TextFault[] } | { document: null; faults: [TextFault] } {
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
  const composer = new Composer({ schema: 'core', uniqueKeys: options.uniqueKeys });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (document === undefined) throw new Error('the YAML library composed nothing');
  const faults: TextFault[] = [...document.errors, ...document.warnings].map(
    ({ message, pos }) => ({ offset: pos[0], message }),
  );
  if (second !== undefined) {
    const message = 'a second document begins here; one file holds one';
    faults.push({ offset: second.range[0], message });
  }
  return { document, faults };
}

/** An alias is not taken: what it stands for is unbounded. */
export function aliasFault(alias: Node): TextFault {
  return { offset: startOf(alias), message: 'write the value out instead of an alias' };
}

/** Line and column of a place, from 1. */
export function placeOf(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** What a schema says of a document, in words and with the place; one for each key that is not known. */
export function describeIssue(
  issue: z.core.$ZodIssue,
  document: Document.Parsed,
  base: readonly PropertyKey[] = [],
): TextFault[] {
  const path = [...base, ...issue.path];
  const where = path.join('.') || 'the file';
  if (issue.code === 'invalid_union') {
    const inner = nearest(issue.errors);
    if (inner) return describeIssue(inner, document, path);
  }
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      offset: keyOffset(document, path, key),
      message: `unknown key ${JSON.stringify(key)}; remove it`,
    }));
  }
  const node = nodeAt(document, path);
  if (node === undefined) {
    const parent = nodeAt(document, path.slice(0, -1));
    return [{ offset: startOf(parent), message: `${where} is missing` }];
  }
  if (issue.code === 'invalid_type') {
    const isBare = issue.expected === 'string' && isScalar(node) && node.value !== null;
    const words = { string: 'text', array: 'a list', object: 'a map of keys' };
    const expected = Object.entries(words).find(([type]) => type === issue.expected)?.[1];
    const hint = isBare ? '; write it in quotes' : '';
    const message = `${where}: expected ${expected ?? issue.expected}${hint}`;
    return [{ offset: startOf(node), message }];
  }
  return [{ offset: startOf(node), message: `${where}: ${issue.message}` }];
}

/** The first fault of the one form that comes closest to what was written; undefined: none does. */
function nearest(forms: readonly (readonly z.core.$ZodIssue[])[]): z.core.$ZodIssue | undefined {
  const least = Math.min(...forms.map((issues) => issues.length));
  const [first, second] = forms.filter((issues) => issues.length === least);
  return second === undefined ? first?.[0] : undefined;
}

/** What a path leads to; undefined: nothing is there. */
export function nodeAt(document: Document.Parsed, path: readonly PropertyKey[]): Node | undefined {
  if (path.length === 0) return document.contents ?? undefined;
  return (document.getIn(path, true) ?? undefined) as Node | undefined;
}

function keyOffset(document: Document.Parsed, path: readonly PropertyKey[], key: string): number {
  const map = nodeAt(document, path);
  const keys = isMap(map) ? map.items.map((pair) => pair.key) : [];
  return startOf(keys.find((each) => isScalar(each) && String(each.value) === key) ?? map);
}

/** Where a node begins; the beginning of the text for none. */
export function startOf(node: unknown): number {
  return (node as ParsedNode | undefined)?.range?.[0] ?? 0;
}
