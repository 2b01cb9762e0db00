import { DuragentError } from '@duragent/protocol';
import { expect, test } from 'vitest';
import { Reloading } from './reloading.ts';

interface Settings {
  live: string;
  fixed: string;
}

/** Loads what is next in `files`; an error is thrown. */
function setUp(...files: (Settings | Error | Promise<Settings>)[]) {
  const logged: string[] = [];
  const applied: Settings[] = [];
  const say = (fields: object, text: string): void => {
    logged.push(`${text} ${JSON.stringify(fields)}`);
  };
  const reloading = new Reloading<Settings>({
    started: { live: 'a', fixed: 'a' },
    load: async () => {
      const file = files.shift();
      if (file instanceof Error) throw file;
      if (!file) throw new Error('nothing to load');
      return await file;
    },
    compare: (next, before) => ({
      live: next.live === before.applied.live ? [] : ['live'],
      restart: next.fixed === before.started.fixed ? [] : ['fixed'],
    }),
    apply: async (next) => {
      applied.push(next);
      return { started: [], stopped: [], restarted: ['g'] };
    },
    warningsOf: (settings) => (settings.live === 'odd' ? ['that is odd'] : []),
    log: { info: say, warn: say, error: say },
  });
  return { reloading, logged, applied };
}

const broken = new DuragentError('config_invalid', 'duragent.yaml:3:1: unknown key', {
  details: { faults: [{ line: 3 }] },
});

test('a new configuration holds, and what it changed is answered and logged', async () => {
  const next = { live: 'odd', fixed: 'b' };
  const { reloading, logged, applied } = setUp(next);
  expect(await reloading.reload()).toEqual({
    applied: ['live'],
    restart_needed: ['fixed'],
    gateways: { started: [], stopped: [], restarted: ['g'] },
    warnings: ['that is odd'],
  });
  expect(applied).toEqual([next]);
  expect(reloading.applied).toBe(next);
  expect(logged.join('\n')).toContain('need a restart of the server {"keys":["fixed"]}');
  expect(logged.join('\n')).toContain('that is odd');
});

test('what needs a restart goes on to be named', async () => {
  const { reloading } = setUp({ live: 'a', fixed: 'b' }, { live: 'a', fixed: 'b' });
  await reloading.reload();
  expect(await reloading.reload()).toMatchObject({ applied: [], restart_needed: ['fixed'] });
});

test('a broken one changes nothing, and is told until a good one comes', async () => {
  const good = { live: 'b', fixed: 'a' };
  const { reloading, applied, logged } = setUp(broken, good);
  const before = reloading.applied;
  const failure = await reloading.reload().catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'config_invalid', details: { faults: [{ line: 3 }] } });
  expect(String(failure)).toContain('duragent.yaml:3:1: unknown key');
  expect(applied).toEqual([]);
  expect(reloading.applied).toBe(before);
  expect(reloading.fault).toContain('duragent.yaml:3:1');
  expect(logged[0]).toContain('duragent.yaml:3:1');
  await reloading.reload();
  expect(reloading.fault).toBeNull();
  expect(reloading.applied).toBe(good);
});

test('what is told of a fault is short', async () => {
  const { reloading } = setUp(new DuragentError('config_invalid', 'x'.repeat(10_000)));
  await reloading.reload().catch(() => undefined);
  expect(reloading.fault?.length).toBeLessThanOrEqual(500);
});

test('those who ask while one is under way share the next', async () => {
  const first = Promise.withResolvers<Settings>();
  const { reloading, applied } = setUp(first.promise, { live: 'c', fixed: 'a' });
  const one = reloading.reload();
  await new Promise(setImmediate);
  const others = [reloading.reload(), reloading.reload(), reloading.reload()];
  first.resolve({ live: 'b', fixed: 'a' });
  await one;
  await Promise.all(others);
  expect(applied.map(({ live }) => live)).toEqual(['b', 'c']);
});
