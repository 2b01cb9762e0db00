import { describe, expect, it } from 'vitest';
import { htmlToMarkdown } from './html-to-markdown.ts';

const url = 'https://site.example/docs/page?x=1';
const sentence = 'This is a sentence of an article, long enough to count as one, with commas. ';
const paragraph = `<p>${sentence.repeat(6)}</p>`;

function markdown(html: string): string {
  return htmlToMarkdown(html, url).markdown;
}

function article(inner: string): string {
  return `<!doctype html><html><head><title> An  article </title></head><body>
    <nav><a href="/">Home</a> <a href="/about">About</a></nav>
    <article><h1>Heading</h1>${paragraph.repeat(4)}${inner}</article>
    <footer>Imprint and cookies</footer></body></html>`;
}

describe('an article', () => {
  it('is read without what surrounds it', () => {
    const { title, markdown: text } = htmlToMarkdown(article(''), url);
    expect(title).toBe('An article');
    expect(text).toContain('This is a sentence');
    expect(text).not.toMatch(/About|Imprint/);
  });

  it('keeps lists, code, tables, and whole links', () => {
    const text = markdown(
      article(`<ul><li>one</li><li><b>two</b></li></ul>
        <pre><code>let a = 1;\nlet b;</code></pre>
        <table><tr><th>Name</th><th>Size</th></tr><tr><td>a<br>b</td><td>1|2</td></tr></table>
        <p>See <a href="../other">this</a> and <a href="//cdn.example/x">that</a>.</p>`),
    );
    expect(text).toContain('-   one\n-   **two**');
    expect(text).toContain('```\nlet a = 1;\nlet b;\n```');
    expect(text).toContain('| Name | Size |\n| --- | --- |\n| a b | 1\\|2 |');
    expect(text).toContain('[this](https://site.example/other)');
    expect(text).toContain('[that](https://cdn.example/x)');
  });
});

describe('any other page', () => {
  it.each([
    ['of a bare text', 'Hello', 'Hello'],
    ['without html, head and body', '<title>T</title><h1>A</h1><p>B', '# A\n\nB'],
    ['without a body tag', '<!doctype html><html><title>T</title><h1>A</h1><p>B', '# A\n\nB'],
    ['in upper case', '<HTML><BODY><P>Hi</P></BODY></HTML>', 'Hi'],
    ['with entities', '<p>a &lt; &amp; &eacute;', 'a < & é'],
    ['of nothing', '', ''],
  ])('%s is read whole', (_, html, text) => {
    expect(markdown(html)).toBe(text);
  });

  it('is read without what is not shown', () => {
    const hidden = ['script', 'style', 'noscript', 'template', 'iframe', 'dialog', 'svg']
      .map((name) => `<${name}>secret</${name}>`)
      .join('');
    const html = `<p>Shown</p>${hidden}<!-- secret --><p hidden>secret</p><p aria-hidden="true">secret</p>`;
    expect(markdown(html)).toBe('Shown');
  });

  it('keeps a table for its layout as blocks', () => {
    const html = '<table><tr><td><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>';
    expect(markdown(html)).toBe('| a | b |\n| --- | --- |');
    expect(markdown('<table><tr><td><p>a</p><p>b</p></td></tr></table>')).toBe('a\n\nb');
  });

  it('has the base of its links where it says', () => {
    expect(markdown('<base href="/base/"><a href="x">a</a>')).toBe(
      '[a](https://site.example/base/x)',
    );
    expect(markdown('<base href="http://["><a href="x">a</a>')).toBe(
      '[a](https://site.example/docs/x)',
    );
  });

  it.each(['javascript:alert(1)', 'data:text/html,x', '#top', 'file:///etc/passwd', 'http://['])(
    'has no link to %s',
    (href) => {
      expect(markdown(`<a href="${href}">text</a><img src="${href}" alt="picture">`)).toBe(
        'textpicture',
      );
    },
  );

  it('shows pictures by what they say', () => {
    expect(markdown('<img src="/a.png" alt="A [b]"><img src="/b.png">')).toBe(
      '![A \\[b\\]](https://site.example/a.png)',
    );
  });
});

it('bounds a title', () => {
  const { title } = htmlToMarkdown(`<title>${'x'.repeat(10_000)}</title>`, url);
  expect(title).toHaveLength(300);
  expect(htmlToMarkdown('<title> </title>', url).title).toBeNull();
});

it('refuses more elements than a page has', () => {
  expect(() => markdown('<b>x</b>'.repeat(50_001))).toThrow('it has more than 50000 elements');
});
