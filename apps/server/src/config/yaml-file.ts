import {
  Composer,
  Lexer,
  LineCounter,
  Parser,
  type CST,
  type Document,
  type YAMLError,
} from 'yaml';
import type { z } from 'zod';
import type { FileFault } from '../core/agent.ts';
import type { Environment } from './substitute.ts';
import { MAX_TEXT_BYTES } from './text-file.ts';
import { convert, type Filled } from './yaml-values.ts';
import { applyRenames, type Rename } from './yaml-renames.ts';
import { describeIssues, type Path } from './yaml-issues.ts';

const MAX_LEVELS = 32;
const MAX_SYNTAX_FAULTS = 20;
/** A file is read once or twice: compiling its schema first would cost more than it saves. */
const READ_ONCE = { jitless: true };
const COLLECTIONS: ReadonlySet<string> = new Set(['block-map', 'block-seq', 'flow-collection']);

/** A schema, or the one that fits what was written. */
export type SchemaChoice<T> = z.ZodType<T> | ((value: unknown) => z.ZodType<T>);

export interface YamlOptions {
  /** Where `${VAR}` is looked up; without it a dollar sign is a dollar sign. */
  env?: Environment;
  /** Old names of keys that are read under their current ones. */
  renames?: readonly Rename[];
}

export type YamlReading<T> =
  | {
      ok: true;
      value: T;
      /** A fault (or warning) at a key of the file; null where the file does not have the key. */
      at(path: Path, message: string): FileFault | null;
      /** The variables that were put in at a key or below it. */
      filled(path: Path): Filled[];
      /** Old names that were read. */
      hints: FileFault[];
    }
  | { ok: false; faults: FileFault[] };
export type GoodReading<T> = Extract<YamlReading<T>, { ok: true }>;

/**
 * Reads one YAML document with a schema. Every fault found is reported with its line and column.
 * Bounded: 256 KiB, 32 levels, 50 aliases (each use within an alias counts again); no tags but
 * YAML's own, no duplicate keys.
 */
export function readYaml<T>(
  text: string,
  file: string,
  schema: SchemaChoice<T>,
  options: YamlOptions = {},
): YamlReading<T> {
  const lines = new LineCounter();
  const fault = (offset: number, message: string): FileFault => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), message };
  };
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    return { ok: false, faults: [fault(0, 'the file is larger than 256 KiB; make it smaller')] };
  }
  const parsed = parse(text, lines, fault);
  if (!parsed.ok) return parsed;
  const { document } = parsed;
  if (document.errors.length > 0) return { ok: false, faults: syntaxFaults(document, fault, text) };

  const hints = applyRenames(document, options.renames ?? [], fault);
  const source = convert(document, text, options.env ?? null, fault);
  const faults = [...hints.faults, ...source.faults];
  if (source.stopped) return { ok: false, faults };

  const chosen = typeof schema === 'function' ? schema(source.value) : schema;
  let result = chosen.safeParse(source.value, READ_ONCE);
  if (!result.success && source.retype(result.error.issues))
    result = chosen.safeParse(source.value, READ_ONCE);
  if (!result.success) {
    const { issues } = result.error;
    faults.push(
      ...describeIssues(issues, chosen, source.value).flatMap(({ path, key, message }) =>
        source.spoiled(path) ? [] : [fault(source.offsetOf(path, key), message)],
      ),
    );
  }
  if (!result.success || faults.length > 0) {
    return { ok: false, faults: faults.sort((a, b) => a.line - b.line || a.column - b.column) };
  }
  return {
    ok: true,
    value: result.data,
    at: (path, message) => (source.has(path) ? fault(source.offsetOf(path, true), message) : null),
    filled: (path) =>
      source.filled.filter((one) => path.every((part, index) => one.path[index] === part)),
    hints: hints.hints,
  };
}

type MakeFault = (offset: number, message: string) => FileFault;

type Parsed = { ok: true; document: Document.Parsed } | { ok: false; faults: FileFault[] };

/**
 * As the library's `parseDocument`, but stops where the nesting exceeds the limit, before anything
 * is composed: that recurses, and V8 ends the process when a regular expression is compiled at the
 * end of the stack.
 */
function parse(text: string, lines: LineCounter, fault: MakeFault): Parsed {
  const tokens: CST.Token[] = [];
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (levelsOf(parser) <= MAX_LEVELS) continue;
    const message = `nested more than ${MAX_LEVELS} levels deep; flatten it`;
    return { ok: false, faults: [fault(parser.offset - lexeme.length, message)] };
  }
  tokens.push(...parser.end());
  const composer = new Composer({
    schema: 'core',
    // The library compares every key with every other; `convert` finds duplicates in one pass.
    uniqueKeys: false,
  });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (document === undefined) throw new Error('the YAML library composed nothing');
  if (document.directives.yaml.version !== '1.2') {
    const message = 'this file is read as YAML 1.2; remove the line %YAML';
    return { ok: false, faults: [fault(0, message)] };
  }
  if (second === undefined) return { ok: true, document };
  const message = 'a second document begins here; one file holds one';
  return { ok: false, faults: [fault(second.range[0], message)] };
}

function levelsOf({ stack }: Parser): number {
  if (stack.length <= MAX_LEVELS) return 0;
  return stack.filter(({ type }) => COLLECTIONS.has(type)).length;
}

function syntaxFaults(document: Document.Parsed, fault: MakeFault, text: string): FileFault[] {
  const seen = new Set<number>();
  const faults: FileFault[] = [];
  for (const error of document.errors) {
    const hint =
      text[error.pos[0]] === '{' && text[error.pos[0] - 1] === '$'
        ? '; inside { } and [ ] write "${NAME}" in quotes'
        : '';
    const found = fault(error.pos[0], `${syntaxReason(error)}${hint}`);
    // What follows on the same line is a consequence of the first.
    if (seen.has(found.line) || faults.length === MAX_SYNTAX_FAULTS) continue;
    seen.add(found.line);
    faults.push(found);
  }
  return faults;
}

function syntaxReason({ message }: YAMLError): string {
  // The library quotes what it stumbled over, which may be a part of a secret.
  return message.replace(/: ".*$/s, '');
}
