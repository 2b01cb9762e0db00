import { expect, test } from 'vitest';
import { readResult } from './call-result.ts';

test.each(['nope', 5, null, { type: 'text', text: 'a' }])(
  'a result whose content is %j is no success',
  (content) => {
    expect(readResult({ content }, 1000)).toMatchObject({
      isError: true,
      content: expect.stringContaining('may have done its work'),
    });
  },
);

test('a result may be empty', () => {
  const empty = { isError: false, content: '', truncated: false };
  expect(readResult({ content: [] }, 1000)).toEqual(empty);
  expect(readResult({}, 1000)).toEqual(empty);
});
