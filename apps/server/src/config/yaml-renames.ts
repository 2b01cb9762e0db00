import { isMap, isScalar, type Document, type Pair, type Scalar, type YAMLMap } from 'yaml';
import type { FileFault } from '../core/agent.ts';

/** An old name of a key, and the path where its value is read now. */
export interface Rename {
  from: readonly string[];
  to: readonly string[];
}

/**
 * Moves what stands under old names to the current ones, in the document, so that faults in it
 * still point at where it was written.
 */
export function applyRenames(
  document: Document.Parsed,
  renames: readonly Rename[],
  fault: (offset: number, message: string) => FileFault,
): { hints: FileFault[]; faults: FileFault[] } {
  const hints: FileFault[] = [];
  const faults: FileFault[] = [];
  for (const { from, to } of renames) {
    const holder = document.getIn(from.slice(0, -1), true);
    if (!isMap(holder)) continue;
    const index = holder.items.findIndex((pair) => isNamed(pair, from.at(-1)));
    const pair = holder.items[index];
    if (pair === undefined) continue;
    holder.items.splice(index, 1);
    const key = pair.key as Scalar;
    const offset = key.range?.[0] ?? 0;
    const target = mapAt(document, to.slice(0, -1));
    const names = `${from.join('.')} is the old name of ${to.join('.')}`;
    if (target === null) {
      faults.push(fault(offset, `${names}; write that`));
      continue;
    }
    if (target.items.some((other) => isNamed(other, to.at(-1)))) {
      faults.push(fault(offset, `${names}, which is set too; remove it`));
      continue;
    }
    key.value = to.at(-1);
    target.items.push(pair);
    hints.push(fault(offset, `${from.join('.')} is read; its name is now ${to.join('.')}`));
  }
  return { hints, faults };
}

function isNamed(pair: Pair, name: string | undefined): boolean {
  return isScalar(pair.key) && pair.key.value === name;
}

/** The map at a path, made where there is nothing; null where something else is there. */
function mapAt(document: Document.Parsed, path: readonly string[]): YAMLMap | null {
  let map = document.contents as unknown;
  for (const name of path) {
    if (!isMap(map)) return null;
    let pair = map.items.find((item) => isNamed(item, name));
    if (pair === undefined) {
      pair = document.createPair(name, {});
      map.items.push(pair);
    } else if (pair.value === null || (isScalar(pair.value) && pair.value.value === null)) {
      pair.value = document.createNode({});
    }
    map = pair.value;
  }
  return isMap(map) ? map : null;
}
