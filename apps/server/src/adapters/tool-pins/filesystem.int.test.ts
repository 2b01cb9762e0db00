import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toolPinsContract } from '../../ports/tool-pins.contract.ts';
import { fileToolPins } from './filesystem.ts';

toolPinsContract('pins in files', async () => {
  const root = await mkdtemp(path.join(os.tmpdir(), 'duragent-pins-'));
  return {
    open: () => fileToolPins({ directory: path.join(root, 'tools') }),
    dispose: () => rm(root, { recursive: true }),
  };
});

describe('pins in files', () => {
  let root: string;
  let file: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'duragent-pins-'));
    file = path.join(root, 'tools', 'a.json');
  });
  afterEach(() => rm(root, { recursive: true }));
  const open = () => fileToolPins({ directory: path.join(root, 'tools') });
  const one = new Map([['s:one', 'f1']]);

  test('only their owner may read them', async () => {
    await open().pin('a', one);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(file))).mode & 0o777).toBe(0o700);
  });

  test.each([
    ['half a file', '{"version":1,"tools":[["s:one"'],
    ['another file', '{"tools":{}}'],
    ['an empty file', ''],
    ['a file that is too large', ' '.repeat(3_000_000)],
  ])('%s is an error that says what to do, and stays as it is', async (_, text) => {
    await mkdir(path.dirname(file));
    await writeFile(file, text);
    const refused = expect.objectContaining({
      code: 'config_invalid',
      message: expect.stringContaining('delete it'),
    });
    await expect(open().read('a')).rejects.toEqual(refused);
    await expect(open().pin('a', one)).rejects.toEqual(refused);
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  test('a link is not followed', async () => {
    await mkdir(path.dirname(file));
    await writeFile(path.join(root, 'other'), '{"version":1,"tools":[]}');
    await symlink(path.join(root, 'other'), file);
    await expect(open().read('a')).rejects.toEqual(
      expect.objectContaining({ code: 'config_invalid' }),
    );
  });

  test('a name that is no name of an agent is refused', async () => {
    await expect(open().read('../../etc/passwd')).rejects.toThrow(/name/);
  });

  test.skipIf(process.getuid?.() === 0)('a folder that cannot be written is an error', async () => {
    await mkdir(path.dirname(file));
    await chmod(path.dirname(file), 0o500);
    await expect(open().pin('a', one)).rejects.toEqual(
      expect.objectContaining({ code: 'storage_failed' }),
    );
  });
});
