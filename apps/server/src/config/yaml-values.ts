import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Document,
  type Node,
  type ParsedNode,
  type Scalar,
} from 'yaml';
import type { FileFault } from '../core/agent.ts';
import { substitute, type Environment, type Variable } from './substitute.ts';
import type { Path } from './yaml-issues.ts';

const MAX_ALIASES = 50;
const TAGS: ReadonlySet<string> = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((tag) => `tag:yaml.org,2002:${tag}`),
);

type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

interface Place {
  key: number;
  value: number;
  /** Holds the value, so that it can be replaced. */
  parent: Value[] | { [key: string]: Value } | null;
  /** What the value is as YAML, where it is text that a variable was put into. */
  retyped?: Value;
  spoiled?: boolean;
}

/** A variable whose value was put in, and where. */
export interface Filled extends Variable {
  path: Path;
}

/**
 * Turns a document into plain values, fills in variables where `env` is given, and remembers where
 * each value came from. `stopped`: the values are not complete.
 */
export function convert(
  document: Document.Parsed,
  text: string,
  env: Environment | null,
  fault: (offset: number, message: string) => FileFault,
) {
  const places = new Map<string, Place>();
  const faults: FileFault[] = [];
  const filled: Filled[] = [];
  let aliases = 0;
  let stopped = false;
  const idOf = (path: Path): string => JSON.stringify(path);
  const startOf = (node: Node | null | undefined): number => node?.range?.[0] ?? 0;

  function walk(node: Node | null, path: Path, key: number, parent: Place['parent']): Value {
    const place: Place = { key, value: node === null ? key : startOf(node), parent };
    places.set(idOf(path), place);
    if (node === null || stopped) return null;
    if (isAlias(node)) {
      aliases += 1;
      const target = aliases > MAX_ALIASES ? undefined : node.resolve(document);
      if (target !== undefined) return walk(target, path, key, parent);
      stopped = true;
      const message =
        aliases > MAX_ALIASES
          ? `more than ${MAX_ALIASES} aliases; write the values out`
          : `there is no anchor &${node.source} before this`;
      faults.push(fault(startOf(node), message));
      return null;
    }
    const tag = (node as ParsedNode).tag;
    if (tag !== undefined && !TAGS.has(tag)) {
      faults.push(fault(startOf(node), `the tag ${tag} is not allowed; write the plain value`));
      place.spoiled = true;
      return null;
    }
    if (isMap(node)) {
      const map: { [key: string]: Value } = {};
      for (const pair of node.items) {
        const name = keyOf(pair.key as Node | null, map);
        if (name === null) continue;
        const value = pair.value as Node | null;
        map[name] = walk(value, [...path, name], startOf(pair.key as Node), map);
      }
      return map;
    }
    if (isSeq(node)) {
      const list: Value[] = [];
      node.items.forEach((item, index) => {
        list.push(walk(item as Node | null, [...path, index], startOf(item as Node), list));
      });
      return list;
    }
    return isScalar(node) ? scalar(node, path, place) : null;
  }

  function keyOf(node: Node | null, map: object): string | null {
    const name = !isScalar(node)
      ? undefined
      : typeof node.value === 'string'
        ? node.value
        : node.source;
    if (name === undefined || name === '' || name === '__proto__') {
      faults.push(fault(startOf(node), 'this cannot be a key; a key is plain text'));
      return null;
    }
    if (!Object.hasOwn(map, name)) return name;
    faults.push(fault(startOf(node), `the key "${name}" is here twice; remove one of them`));
    return null;
  }

  function scalar(node: Scalar, path: Path, place: Place): Value {
    if (typeof node.value !== 'string') return node.value as Value;
    if (env === null || !node.value.includes('$')) return node.value;
    const result = substitute(node.value, env);
    filled.push(...result.variables.map((variable) => ({ ...variable, path })));
    let from = place.value;
    for (const { reference, message } of result.faults) {
      const found = text.indexOf(reference, from);
      // A reference that is folded over lines is not in the source as it was read.
      const offset = found === -1 || found >= (node.range?.[1] ?? 0) ? place.value : found;
      faults.push(fault(offset, message));
      from = offset + reference.length;
      place.spoiled = true;
    }
    place.retyped = plainValue(result.text);
    return result.text;
  }

  const value = walk(document.contents, [], 0, null);
  return {
    value: value ?? {},
    faults,
    stopped,
    filled,
    has: (path: Path): boolean => places.has(idOf(path)),
    spoiled: (path: Path): boolean => places.get(idOf(path))?.spoiled === true,
    /** Where a value (or its key) stands, or the nearest thing around it that is there. */
    offsetOf(path: Path, key: boolean): number {
      for (let length = path.length; length >= 0; length -= 1) {
        const place = places.get(idOf(path.slice(0, length)));
        if (place !== undefined) return key && length === path.length ? place.key : place.value;
      }
      return 0;
    },
    /**
     * A variable is text, but may stand where the schema wants a number, a switch or nothing:
     * there its text is read as YAML. @returns whether anything changed.
     */
    retype(issues: readonly { path: readonly PropertyKey[] }[]): boolean {
      let changed = false;
      for (const { path } of issues) {
        const place = places.get(JSON.stringify(path));
        if (place?.retyped === undefined || typeof place.retyped === 'string') continue;
        if (place.parent === null) continue;
        (place.parent as Record<PropertyKey, Value>)[path.at(-1) as string] = place.retyped;
        changed = true;
      }
      return changed;
    },
  };
}

function plainValue(text: string): Value {
  if (text === '' || text === 'null') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text;
}
