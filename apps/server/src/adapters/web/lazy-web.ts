import type { Web } from '../../ports/web.ts';

/** A web that is loaded when it is first used: most servers start without needing it. */
export function lazyWeb(load: () => Promise<Web>): Web {
  let loading: Promise<Web> | undefined;
  const web = () => (loading ??= load());
  return {
    fetch: async (url, options) => (await web()).fetch(url, options),
    search: async (query, options) => (await web()).search(query, options),
  };
}
