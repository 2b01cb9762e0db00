import { describe, expect, test } from 'vitest';
import { argumentVariables, MAX_ARGUMENTS_BYTES } from './argument-variables.ts';
import { firstParagraph, readParameters } from './describe-program.ts';

describe('the first paragraph of a README', () => {
  test.each([
    ['# Git helper\n\nHelps with\r\n  git.\n\nMore.', 'Helps with git.'],
    ['Title\n=====\n\nText', 'Text'],
    ['Other title\n---\nText', 'Text'],
    ['[![badge](x)](y)\n![pic](z)\n<!-- c -->\n\nText\n## Next', 'Text'],
    ['Text\n```\ncode', 'Text'],
    ['# Only a heading\n', ''],
    ['', ''],
  ])('of %j is %j', (markdown, text) => {
    expect(firstParagraph(markdown)).toBe(text);
  });

  test('is cut to a thousand bytes', () => {
    expect(firstParagraph('ä'.repeat(5000))).toBe('ä'.repeat(500));
  });
});

describe('a schema', () => {
  test('of an object is taken as it is', () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } } };
    expect(readParameters(schema)).toEqual({ parameters: schema });
  });

  let deep: unknown = 1;
  for (let i = 0; i < 5000; i += 1) deep = { deep };
  test.each([
    ['text', 'an object'],
    [[], 'an object'],
    [null, 'an object'],
    [{ type: 'string' }, '"type": "object"'],
    [{ type: 'object', properties: [] }, '"properties"'],
    [{ type: 'object', a: deep }, '16 levels'],
    [{ type: 'object', a: 'x'.repeat(33_000) }, '32 KiB'],
  ])('is refused where it is no bounded schema of an object (%#)', (schema, why) => {
    expect(readParameters(schema)).toEqual({ fault: expect.stringContaining(why) });
  });
});

describe('the arguments of a call', () => {
  test('are JSON and variables: texts as they are, all else as JSON', () => {
    const args = { name: 'a "b"\nc', 'max-count': 3, list: [1, 'x'], off: false, none: null };
    expect(argumentVariables(args)).toEqual({
      json: JSON.stringify(args),
      env: {
        DURAGENT_ARG_NAME: 'a "b"\nc',
        DURAGENT_ARG_MAX_COUNT: '3',
        DURAGENT_ARG_LIST: '[1,"x"]',
        DURAGENT_ARG_OFF: 'false',
        DURAGENT_ARG_NONE: 'null',
      },
    });
  });

  test('whose names no variable can have, or two would share, are only JSON', () => {
    const args = { 'a-b': 1, A_B: 2, 'a b': 3, ü: 4, '1x': 5, '': 6, 'a=b': 7, ok: 8 };
    expect(argumentVariables(args)).toEqual({
      json: JSON.stringify(args),
      env: { DURAGENT_ARG_OK: '8' },
    });
  });

  test.each([
    [{ a: 'x\0y' }, 'NUL'],
    [{ a: '\ud800' }, 'half a pair'],
    [{ a: 'x'.repeat(MAX_ARGUMENTS_BYTES) }, 'more than 100000 bytes'],
    [Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a${i}`, i])), 'at most 64'],
  ])('are refused where no program can be given them (%#)', (args, why) => {
    expect(argumentVariables(args)).toEqual({ fault: expect.stringContaining(why) });
  });
});
