import { stripTypeScriptTypes } from 'node:module';
import { expect, test } from 'vitest';
import { changed } from './planted.ts';
import { plantedToolBugs } from './tools-planted.ts';

test.each(Object.entries(plantedToolBugs))('%s can still be planted', async (_, { edits }) => {
  expect(edits.length).toBeGreaterThan(0);
  for (const edit of edits) {
    // When this fails, the product has changed: plant the same fault where it would be made now.
    const text = await changed(edit);
    expect(() => stripTypeScriptTypes(text)).not.toThrow();
  }
});
