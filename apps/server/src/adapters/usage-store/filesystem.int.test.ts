import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callsOf, settledCall, usageStoreContract } from '../../ports/usage-store.contract.ts';
import { MAX_WAITING } from '../../ports/usage-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { fileUsageStore } from './filesystem.ts';

const DAY = '2026-11-20';

function mayNotFail(error: Error): never {
  throw error;
}

usageStoreContract('usage in files', async () => {
  const root = await mkdtemp(path.join(os.tmpdir(), 'duragent-usage-'));
  return {
    open: () => fileUsageStore({ directory: path.join(root, 'usage'), onFailure: mayNotFail }),
    dispose: () => rm(root, { recursive: true }),
  };
});

describe('usage in files', () => {
  let root: string;
  let directory: string;
  let file: string;
  let failures: string[];
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'duragent-usage-'));
    directory = path.join(root, 'usage');
    file = path.join(directory, `${DAY}.jsonl`);
    failures = [];
  });
  afterEach(() => rm(root, { recursive: true }));
  const open = (files?: FaultyFiles) =>
    fileUsageStore({
      directory,
      onFailure: ({ message }) => failures.push(message),
      ...(files ? { files } : {}),
    });
  const steps = async (store = open()) =>
    (await callsOf(store, DAY)).map((call) => ('step' in call ? call.step : 0));

  test('are lines that people can read, and only their owner may', async () => {
    const store = open();
    store.add(DAY, settledCall(1));
    await store.close();
    expect(await readFile(file, 'utf8')).toBe(
      '{"at":"2026-11-20T12:00:00.000Z","session":"session_a","turn":"turn_a","step":1,"attempt":1,' +
        '"agent":"helper","sender":"telegram:1","model":"anthropic/claude-sonnet-4-5",' +
        '"usage":{"input_tokens":100,"output_tokens":10,"cache_read_tokens":50},"usd":0.00045}\n',
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  test('calls that come together are synced together', async () => {
    const files = new FaultyFiles();
    const store = open(files);
    for (let step = 1; step <= 100; step += 1) store.add(DAY, settledCall(step));
    await store.close();
    expect(files.count('datasync', `${DAY}.jsonl`)).toBe(1);
    expect(files.opened.size).toBe(0);
  });

  test('half a line and lines that say nothing are passed over, and what follows is whole', async () => {
    const store = open();
    store.add(DAY, settledCall(1));
    store.add(DAY, settledCall(2));
    await store.close();
    await truncate(file, (await stat(file)).size - 20);
    await appendFile(file, '\n{"usd":-1}\n\n[1]\n{"at":"20');
    const next = open();
    next.add(DAY, settledCall(3));
    expect(await steps(next)).toEqual([1, 3]);
    await next.close();
    expect(await steps()).toEqual([1, 3]);
  });

  test('what could not be written is read all the same, and written once with the next call', async () => {
    const files = new FaultyFiles();
    const store = open(files);
    store.add(DAY, settledCall(1));
    await store.close();
    files.fault = ({ name }) => (name === 'datasync' ? systemError('ENOSPC') : undefined);
    store.add(DAY, settledCall(2));
    expect(await steps(store)).toEqual([1, 2]);
    expect(await steps(store)).toEqual([1, 2]);
    files.fault = () => undefined;
    store.add(DAY, settledCall(3));
    expect(await steps(store)).toEqual([1, 2, 3]);
    await store.close();
    expect(await steps()).toEqual([1, 2, 3]);
    expect(failures).toEqual([expect.stringMatching(/^Cannot write .*ENOSPC.*Free space/)]);
  });

  test('a day that fell too far behind ends where it did, so that no call is missing between others', async () => {
    const files = new FaultyFiles();
    const store = open(files);
    store.add(DAY, settledCall(1));
    await store.close();
    files.fault = ({ name }) => (name === 'write' ? systemError('EIO') : undefined);
    for (let step = 2; step <= MAX_WAITING + 3; step += 1) store.add(DAY, settledCall(step));
    await store.close();
    files.fault = () => undefined;
    store.add(DAY, settledCall(20_000));
    await store.close();
    expect(await steps()).toEqual([1]);
  });

  test('neither a link is followed nor a folder read', async () => {
    await mkdir(directory);
    await writeFile(path.join(root, 'other'), '');
    await symlink(path.join(root, 'other'), file);
    const store = open();
    store.add(DAY, settledCall(1));
    await store.close();
    expect(await readFile(path.join(root, 'other'), 'utf8')).toBe('');
    expect(failures).toHaveLength(1);
    await mkdir(path.join(directory, '2026-11-21.jsonl'));
    await expect(callsOf(store, '2026-11-21')).rejects.toThrow(
      expect.objectContaining({ code: 'storage_failed' }),
    );
  });
});
