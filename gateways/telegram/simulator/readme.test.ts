import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { controlNames } from './control-http.ts';
import { TelegramControl } from './control.ts';
import { methodNames } from './methods.ts';

const readme = readFileSync(path.join(import.meta.dirname, 'README.md'), 'utf8');
const isNamed = (name: string): boolean => readme.includes(`\`${name}\``);

test('the README names every method and every function of the control API', () => {
  expect([...methodNames, ...controlNames].filter((name) => !isNamed(name))).toEqual([]);
});

test('every function of the control API is served', () => {
  const own = Object.getOwnPropertyNames(TelegramControl.prototype);
  const functions = own.filter((name) => name !== 'constructor');
  expect(functions.toSorted()).toEqual([...controlNames].toSorted());
});
