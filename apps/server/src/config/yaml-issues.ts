import type { z } from 'zod';

/** A place in a document: keys of maps and positions in lists. */
export type Path = readonly (string | number)[];

export interface DescribedIssue {
  path: Path;
  /** Whether the key is at fault, not its value. */
  key: boolean;
  message: string;
}

type Issue = z.core.$ZodIssue;

/** Says what is wrong with a document in a person's words: one entry for every fault. */
export function describeIssues(
  issues: readonly Issue[],
  schema: z.ZodType,
  value: unknown,
): DescribedIssue[] {
  return issues.flatMap((issue) => {
    const path = issue.path as Path;
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((name) => ({
        path: [...path, name],
        key: true,
        message: `unknown key "${name}"${suggestion(schema, path, name)}`,
      }));
    }
    const name = path.length === 0 ? 'the file' : path.join('.');
    return [{ path, key: issue.code === 'invalid_key', message: `${name}${reason(issue, value)}` }];
  });
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map of keys',
  record: 'a map of keys',
  array: 'a list',
  null: 'nothing',
};

function reason(issue: Issue, value: unknown): string {
  const found = valueAt(value, issue.path);
  switch (issue.code) {
    case 'invalid_type': {
      if (found === undefined) return ' is missing';
      // A schema with words of its own says more than the type.
      if (!issue.message.startsWith('Invalid input')) return `: ${issue.message}`;
      const expected = EXPECTED[issue.expected] ?? issue.expected;
      const quotes =
        issue.expected === 'string' && (typeof found === 'number' || typeof found === 'boolean')
          ? '; write it in quotes'
          : '';
      return `: expected ${expected}, found ${kindOf(found)}${quotes}`;
    }
    case 'invalid_value':
      if (found === undefined) return ' is missing';
      if (!issue.message.startsWith('Invalid ')) return `: ${issue.message}`;
      return `: expected ${either(issue.values)}`;
    case 'too_small':
    case 'too_big': {
      if (!issue.message.startsWith('Too ')) return `: ${issue.message}`;
      const least = issue.code === 'too_small';
      const bound = String(least ? issue.minimum : issue.maximum);
      const unit =
        issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' entries' : '';
      return `: must be at ${least ? 'least' : 'most'} ${bound}${unit}`;
    }
    case 'invalid_union':
      if (issue.discriminator !== undefined && found === undefined) return ' is missing';
      if ('options' in issue && Array.isArray(issue.options))
        return `: expected ${either(issue.options)}`;
      return `: ${issue.message}`;
    case 'invalid_key':
      return `: ${issue.issues[0]?.message ?? issue.message}`;
    default:
      return `: ${issue.message}`;
  }
}

function either(values: readonly unknown[]): string {
  return values.map((value) => `"${String(value)}"`).join(' or ');
}

function kindOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return (
    { object: 'a map', string: 'text', boolean: 'true or false' }[typeof value as string] ??
    'a number'
  );
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<PropertyKey, unknown>)[part];
  }
  return found;
}

function suggestion(schema: z.ZodType, path: Path, name: string): string {
  const known = shapesAt(schema, path).flatMap((shape) => Object.keys(shape));
  const near = nearest(name, known);
  if (near !== null) return `; did you mean "${near}"?`;
  const elsewhere = findKey(schema, name);
  if (elsewhere !== null) return `; did you mean "${elsewhere.join('.')}"?`;
  return known.length === 0 || known.length > 12 ? '' : `; the keys here are ${known.join(', ')}`;
}

/** The known word that is close enough to have been meant. */
function nearest(word: string, known: readonly string[]): string | null {
  const written = word.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/-/g, '_');
  let best: string | null = null;
  let least = Math.max(1, Math.min(3, Math.ceil(written.length / 3))) + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - written.length) >= least) continue;
    const distance = editDistance(written, candidate);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** How many letters have to be put in, left out, changed or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        at(above, column) + 1,
        at(current, column - 1) + 1,
        at(above, column - 1) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(before, column - 2) + 1);
      }
      current.push(cost);
    }
    [before, above] = [above, current];
  }
  return at(above, b.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity;
}

type Shape = Record<string, z.core.$ZodType>;

/** The parts a schema is made of, as far as finding keys needs them. */
interface Definition {
  type: string;
  shape?: Shape;
  innerType?: z.core.$ZodType;
  in?: z.core.$ZodType;
  out?: z.core.$ZodType;
  element?: z.core.$ZodType;
  valueType?: z.core.$ZodType;
  options?: z.core.$ZodType[];
}

function unwrap(schema: z.core.$ZodType): Definition[] {
  const definition = schema._zod.def as unknown as Definition;
  const inner = [
    definition.innerType,
    definition.in,
    definition.out,
    ...(definition.options ?? []),
  ];
  const wrapped = inner.filter((part) => part !== undefined);
  return wrapped.length === 0 ? [definition] : wrapped.flatMap(unwrap);
}

function shapesAt(schema: z.core.$ZodType, path: Path): Shape[] {
  const [head, ...rest] = path;
  const definitions = unwrap(schema);
  if (head === undefined) return definitions.flatMap(({ shape }) => (shape ? [shape] : []));
  return definitions.flatMap((definition) => {
    const next = definition.shape?.[String(head)] ?? definition.element ?? definition.valueType;
    return next === undefined ? [] : shapesAt(next, rest);
  });
}

/** The shortest path of a key with this name anywhere in the schema's maps. */
function findKey(schema: z.core.$ZodType, name: string): string[] | null {
  const queue: { schema: z.core.$ZodType; path: string[] }[] = [{ schema, path: [] }];
  for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
    for (const shape of shapesAt(entry.schema, [])) {
      if (Object.hasOwn(shape, name)) return [...entry.path, name];
      for (const [key, next] of Object.entries(shape)) {
        queue.push({ schema: next, path: [...entry.path, key] });
      }
    }
  }
  return null;
}
