/**
 * The keys under `paths` whose value is not the default, as paths from the root: the lowest ones
 * that the defaults know.
 */
export function changedKeys(
  value: unknown,
  defaults: unknown,
  paths: readonly string[],
): string[][] {
  return paths.flatMap((dotted) => {
    const path = dotted.split('.');
    return changedBelow(valueAt(value, path), valueAt(defaults, path), path);
  });
}

function changedBelow(value: unknown, standard: unknown, path: string[]): string[][] {
  const keys = isMap(value) && isMap(standard) ? Object.keys(standard) : [];
  if (keys.length > 0) {
    return keys.flatMap((key) =>
      changedBelow(valueAt(value, [key]), valueAt(standard, [key]), [...path, key]),
    );
  }
  return JSON.stringify(value) === JSON.stringify(standard) ? [] : [path];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((found, key) => (isMap(found) ? found[key] : undefined), value);
}
