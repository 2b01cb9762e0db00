import { expect, it } from 'vitest';
import type { Web } from '../../ports/web.ts';
import { lazyWeb } from './lazy-web.ts';

it('is loaded once, when it is first used', async () => {
  let loads = 0;
  const failure = (message: string) =>
    Promise.resolve({ ok: false as const, code: 'unreachable', message });
  const loaded: Web = { fetch: (url) => failure(url), search: (query) => failure(query) };
  const web = lazyWeb(() => {
    loads += 1;
    return Promise.resolve(loaded);
  });
  const options = { signal: new AbortController().signal };
  expect(loads).toBe(0);
  const [page, found] = await Promise.all([web.fetch('a', options), web.search('b', options)]);
  expect([page, found]).toMatchObject([{ message: 'a' }, { message: 'b' }]);
  expect(loads).toBe(1);
});
