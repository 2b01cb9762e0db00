import { type Token, type Tokens, walkTokens } from 'marked';
import { MAX_COLUMNS } from './rich-blocks.ts';
import { codeInfo, isOverfull, known } from './tokens.ts';

/** What Telegram's Markdown may take for more than formatting. Wider than needed: it also finds what stands in code. */
const active = /[<@$]|!\[|==|\|\||\[\^|\]:|\](?=\()(?!\(https?:\/\/)/i;

/**
 * Whether Telegram reads a Markdown as it was read here, and nothing else into it: no mark is left
 * over in its text and no fence is open (it may refuse both), and no cell is beyond those of its
 * table's head (nobody who reads Markdown shows it).
 */
export function isClear(markdown: string, tokens: Token[]): boolean {
  if (active.test(markdown)) return false;
  let clear = true;
  void walkTokens(tokens, (token) => {
    const [one] = known([token]);
    if (one?.type === 'table') clear &&= one.header.length <= MAX_COLUMNS && !isOverfull(one);
    if (one?.type === 'code') clear &&= isClosed(one) && codeInfo(one).title === '';
    if (one?.type === 'text') clear &&= one.tokens !== undefined || !/[*_~`[\]|\\]/.test(one.text);
  });
  return clear;
}

function isClosed(code: Tokens.Code): boolean {
  return code.codeBlockStyle === 'indented' || /\n *(```+|~~~+)\s*$/.test(code.raw);
}
