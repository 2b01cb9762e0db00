import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Web } from '../../ports/web.ts';
import { createGuardedFetch } from './guarded-fetch.ts';
import { internet } from './internet.ts';
import { openStage, PUBLIC, rules, type Stage } from './stage.testing.ts';

const options = { signal: new AbortController().signal };
const page = `http://${PUBLIC}/page`;

let stage: Stage;
let web: Web;

beforeEach(async () => {
  stage = await openStage();
  const guarded = createGuardedFetch(rules, stage.surroundings);
  // The API of the test is where the canary is: only the operator's word lets a fetch go there.
  const root = `http://127.0.0.1:${stage.publicPort}`;
  web = internet({
    guardedFetch: (url, given) =>
      given.allowPrivate === true
        ? createGuardedFetch(rules, { ownAddresses: () => [] })(url, given)
        : guarded(url, given),
    brave: { key: 'key-canary-7f3a', root },
  });
});
afterEach(async () => {
  expect(stage.caught).toBe(0);
  await stage[Symbol.asyncDispose]();
});

function serve(type: string | null, body: string | Buffer, status = 200): void {
  stage.answer = (_, response) =>
    response.writeHead(status, type === null ? {} : { 'content-type': type }).end(body);
}

describe('a page', () => {
  it('of HTML is Markdown', async () => {
    serve('text/html; charset=iso-8859-1', Buffer.from('<title>T</title><h1>\xe9</h1>', 'latin1'));
    expect(await web.fetch(page, options)).toEqual({
      ok: true,
      url: page,
      status: 200,
      mime: 'text/html',
      title: 'T',
      text: '# é',
      truncated: false,
      redirects: 0,
    });
  });

  it.each(['text/plain', 'application/json', 'application/ld+json', 'text/csv', 'application/xml'])(
    'of %s is as it is',
    async (type) => {
      serve(type, '<b>{"a": 1}');
      expect(await web.fetch(page, options)).toMatchObject({ title: null, text: '<b>{"a": 1}' });
    },
  );

  it.each([
    ['image/png', 'image/png'],
    ['application/pdf', 'application/pdf'],
    ['application/octet-stream', 'application/octet-stream'],
    [null, 'of no named type'],
    ['nonsense', 'of no named type'],
  ])('of %s is refused, with its type and size', async (type, named) => {
    serve(type, Buffer.alloc(1234));
    const outcome = await web.fetch(page, options);
    expect(outcome).toMatchObject({ ok: false, code: 'type_refused' });
    expect(!outcome.ok && outcome.message).toContain(`with 1234 bytes, ${named}:`);
    serve(type, Buffer.alloc(2 ** 20 + 1));
    const larger = await web.fetch(page, options);
    expect(!larger.ok && larger.message).toContain('with more than 1048576 bytes');
  });

  it('of nothing is nothing, whatever its type', async () => {
    serve(null, '', 204);
    expect(await web.fetch(page, options)).toMatchObject({ ok: true, status: 204, text: '' });
  });

  it('that is long is cut', async () => {
    serve('text/plain', 'x'.repeat(100_001));
    const outcome = await web.fetch(page, options);
    expect(outcome).toMatchObject({ ok: true, truncated: true });
    expect(outcome.ok && outcome.text.length).toBe(100_000);
    serve('text/html', `<p>${'x'.repeat(2 ** 20)}`);
    expect(await web.fetch(page, options)).toMatchObject({ ok: true, truncated: true });
  });

  it('that cannot be parsed says why', async () => {
    serve('text/html', '<b>'.repeat(60_000));
    expect(await web.fetch(page, options)).toEqual({
      ok: false,
      code: 'page_unreadable',
      message:
        'The page cannot be shown as text: it has more than 50000 elements. Try another page.',
    });
  });

  it('that is not public is not read', async () => {
    const url = `http://127.0.0.1:${stage.canaryPort}/`;
    expect(await web.fetch(url, options)).toMatchObject({ ok: false, code: 'address_refused' });
  });
});

describe('a search', () => {
  it('gives titles, URLs and descriptions', async () => {
    serve(
      'application/json',
      JSON.stringify({
        type: 'search',
        web: {
          results: [
            {
              title: 'Tom &amp; <strong>Jerry</strong>',
              url: 'https://a.example/ü',
              description: 'It&#x27;s\n a   cat &amp;lt;',
              age: '1 day ago',
            },
            { title: 'B', url: 'https://b.example' },
          ],
        },
      }),
    );
    expect(await web.search('cats & dogs', options)).toEqual({
      ok: true,
      results: [
        {
          title: 'Tom & Jerry',
          url: 'https://a.example/%C3%BC',
          description: "It's a cat &lt;",
        },
        { title: 'B', url: 'https://b.example/', description: '' },
      ],
    });
    const [request] = stage.requests;
    expect(request?.headers['x-subscription-token']).toBe('key-canary-7f3a');
    const asked = new URL(request?.url ?? '', 'http://x');
    expect(asked.pathname).toBe('/res/v1/web/search');
    expect(asked.searchParams.get('q')).toBe('cats & dogs');
  });

  it('may find nothing', async () => {
    serve('application/json', '{"type":"search"}');
    expect(await web.search('x', options)).toEqual({ ok: true, results: [] });
  });

  it.each([
    [401, 'check BRAVE_API_KEY'],
    [422, 'check BRAVE_API_KEY'],
    [429, 'Wait a few seconds'],
    [500, 'Try again later'],
    [302, 'Try again later'],
  ])('that is answered by %i says what to do', async (status, what) => {
    serve('application/json', '{}', status);
    const outcome = await web.search('x', options);
    expect(outcome).toMatchObject({ ok: false, code: 'search_failed' });
    expect(!outcome.ok && outcome.message).toContain(what);
    expect(JSON.stringify(outcome)).not.toContain('canary');
  });

  it.each(['no JSON', '[]', '{"web":{"results":[{"title":1}]}}'])('takes no %s', async (body) => {
    serve('application/json', body);
    expect(await web.search('x', options)).toMatchObject({ ok: false, code: 'search_failed' });
  });

  it('does not carry its key to where it is redirected', async () => {
    stage.answer = (_, response) =>
      response.writeHead(302, { location: `http://${PUBLIC}/` }).end();
    expect(await web.search('x', options)).toMatchObject({ code: 'too_many_redirects' });
    expect(stage.requests).toHaveLength(1);
  });

  it('without a key says how to get and set one, and asks nobody', async () => {
    const keyless = internet({ guardedFetch: () => expect.fail(), brave: { key: null } });
    const outcome = await keyless.search('x', options);
    expect(outcome).toMatchObject({ ok: false, code: 'no_key' });
    expect(!outcome.ok && outcome.message).toMatch(/https:\/\/brave\.com.* BRAVE_API_KEY/);
  });
});
