import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OutputCapture } from './output-capture.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'capture-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the output of a command', () => {
  test('is whole where it fits, else its start and end without half characters', async () => {
    const pieces = fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        pieces,
        fc.nat(200),
        fc.integer({ min: 1, max: 7 }),
        async (texts, keep, cut) => {
          const all = Buffer.from(texts.join('').toWellFormed());
          const capture = new OutputCapture({ keepBytes: keep });
          // Cut anywhere, as a pipe cuts.
          for (let at = 0; at < all.length; at += cut) {
            await capture.add(all.subarray(at, at + cut));
          }
          const { head, tail, bytes, omittedBytes, file } = await capture.finish();
          const [headBytes, tailBytes] = [Buffer.byteLength(head), Buffer.byteLength(tail)];
          expect(file).toBeNull();
          expect(bytes).toBe(all.length);
          expect(head).toBe(all.subarray(0, headBytes).toString());
          expect(tail).toBe(all.subarray(all.length - tailBytes).toString());
          expect(headBytes + tailBytes + omittedBytes).toBe(bytes);
          if (bytes <= Math.max(2, keep)) expect(omittedBytes).toBe(0);
          else {
            expect(headBytes + tailBytes).toBeLessThanOrEqual(Math.max(2, keep));
            // No more is lost than a character at each end of the gap.
            expect(headBytes + tailBytes).toBeGreaterThanOrEqual(Math.max(2, keep) - 6);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('is replaced where it is not UTF-8', async () => {
    const capture = new OutputCapture({});
    await capture.add(Buffer.from([0x61, 0xff, 0xfe, 0x80, 0x62]));
    expect(await capture.finish()).toMatchObject({ head: 'a\ufffd\ufffd\ufffdb', bytes: 5 });
  });

  test('goes into a file up to its limit, from its start', async () => {
    const file = path.join(folder, 'a/b.log');
    const capture = new OutputCapture({ keepBytes: 10, file, fileLimit: 1000 });
    for (let i = 0; i < 100; i += 1) await capture.add(Buffer.from('x'.repeat(15)));
    const output = await capture.finish();
    expect(output.file).toEqual({ path: file, bytes: 1000, fault: null });
    expect(output).toMatchObject({ bytes: 1500, omittedBytes: 1490 });
    expect((await readFile(file)).length).toBe(1000);
  });

  test('makes no file where there is none', async () => {
    const file = path.join(folder, 'b.log');
    expect((await new OutputCapture({ file }).finish()).file).toBeNull();
    await expect(readFile(file)).rejects.toThrow('ENOENT');
  });
});
