import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { inboxContract } from '../../ports/inbox.contract.ts';
import { FaultyFiles } from '../files/faults.testing.ts';
import { fileInboxStore } from './filesystem.ts';

/** Stores over a new folder; what was left open is closed at its end, as by the end of a process. */
async function makeHarness(rotateBytes?: number) {
  const root = await mkdtemp(path.join(os.tmpdir(), 'duragent-inbox-'));
  const dir = path.join(root, 'gateways');
  const processes: FaultyFiles[] = [];
  return {
    open: async () => {
      await processes.at(-1)?.closeAll();
      const files = new FaultyFiles();
      processes.push(files);
      const onSyncFailure = (error: Error): void => {
        if (!files.ended) throw error;
      };
      const rotation = rotateBytes === undefined ? {} : { rotateBytes };
      return fileInboxStore({ dir, files, onSyncFailure, ...rotation });
    },
    tear: async (gateway: string, share: number) => {
      await processes.at(-1)?.closeAll();
      const file = path.join(dir, gateway, 'inbox.jsonl');
      const last = (await readFile(file)).toString().trimEnd().split('\n').at(-1) ?? '';
      const line = Buffer.from(last);
      const cut = line.subarray(0, Math.floor(line.length * share));
      await appendFile(file, share > 0.5 ? cut : Buffer.concat([cut, Buffer.from('\n')]));
    },
    dispose: async () => {
      await Promise.all(processes.map((each) => each.closeAll()));
      await rm(root, { recursive: true });
    },
  };
}

inboxContract('the inboxes in files', () => makeHarness());
inboxContract('the inboxes in files that are written anew all the time', () => makeHarness(2000));
