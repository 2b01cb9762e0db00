import { chatMethods } from './methods-chats.ts';
import { messageMethods } from './methods-messages.ts';
import { ownMethods } from './methods-own.ts';
import type { Method } from './method.ts';

const methods = new Map<string, { name: string; method: Method }>(
  Object.entries({ ...ownMethods, ...chatMethods, ...messageMethods }).map(([name, method]) => [
    name.toLowerCase(),
    { name, method },
  ]),
);

/** The method of that name, in any case; undefined when this simulator has none. */
export function findMethod(name: string): { name: string; method: Method } | undefined {
  return methods.get(name.toLowerCase());
}

/** The names of all methods that are simulated. */
export const methodNames: readonly string[] = [...methods.values()].map(({ name }) => name);
