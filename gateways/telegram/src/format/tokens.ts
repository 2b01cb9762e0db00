import type { MarkedToken, Token, Tokens } from 'marked';

/** The lexer's own kinds: there are no extensions that add others. */
export function known(tokens: readonly Token[]): MarkedToken[] {
  return tokens as MarkedToken[];
}

/** The language of a code block; words that are none stand above it, or they would be lost. */
export function codeInfo(token: Tokens.Code): { language: string; title: string } {
  const info = token.lang ?? '';
  const language = /^[\w+#.-]{1,40}(?=\s|$)/.exec(info)?.[0] ?? '';
  return { language, title: language === info ? '' : info };
}

/** Whether a row of a table has more cells than its head: the lexer drops them. */
export function isOverfull(table: Tokens.Table): boolean {
  return table.raw.split('\n').some((line) => {
    const inner = line
      .trim()
      .replace(/^\|/, '')
      .replace(/(?<!\\)\|$/, '');
    return (inner.match(/(?<!\\)\|/g)?.length ?? 0) >= table.header.length;
  });
}

/** The text of a token that is text, whatever shows it. */
export function plainPart(token: MarkedToken): string {
  switch (token.type) {
    case 'br':
      return '\n';
    case 'escape':
      return token.text;
    case 'html':
      return /^<br\s*\/?>$/i.test(token.text) ? '\n' : token.text;
    case 'checkbox':
      return token.checked ? '☑ ' : '☐ ';
    default:
      return token.raw;
  }
}

/** Telegram silently drops links to hosts without a dot, and those with `tg:` ping people. */
export function isShownAsLink(href: string): boolean {
  if (!URL.canParse(href)) return false;
  const { protocol, hostname } = new URL(href);
  return (protocol === 'http:' || protocol === 'https:') && hostname.includes('.');
}
