import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { controlNames } from './control-http.ts';
import { createControl } from './control.ts';
import { FaultScript } from './faults.ts';
import { RateLimits } from './limits.ts';
import { methodNames } from './methods.ts';
import { World } from './world.ts';

const readme = readFileSync(path.join(import.meta.dirname, 'README.md'), 'utf8');
const isNamed = (name: string): boolean => readme.includes(`\`${name}\``);

test('the README names every method and every function of the control API', () => {
  expect([...methodNames, ...controlNames].filter((name) => !isNamed(name))).toEqual([]);
});

test('every function of the control API is served', () => {
  const options = { seed: 1, token: undefined, username: 'simulated_bot' };
  const world = new World({ ...options, privacy: false, privateTopics: false });
  const limits = new RateLimits(world.clock, 'off');
  const control = createControl({ world, faults: new FaultScript(1), limits, calls: () => [] });
  expect(Object.keys(control).toSorted()).toEqual([...controlNames].toSorted());
});
