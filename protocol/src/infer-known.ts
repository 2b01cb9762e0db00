import type { z } from 'zod';

/** Keys of a type that are written out, without an index signature. */
type KnownKeys<T> = keyof {
  [K in keyof T as string extends K ? never : number extends K ? never : K]: true;
};

type Known<T> = T extends readonly (infer Item)[]
  ? Known<Item>[]
  : T extends object
    ? [KnownKeys<T>] extends [never]
      ? T
      : { [K in keyof T as K extends KnownKeys<T> ? K : never]: Known<T[K]> }
    : T;

/**
 * The fields of a loose schema that this version knows. Loose schemas keep unknown fields when
 * they read; code that builds or uses a value names only the known ones.
 */
export type InferKnown<Schema extends z.ZodType> = Known<z.infer<Schema>>;
