import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError, type ServerFile } from '@duragent/protocol';
import { errorCode, nodeFiles, replaceFile } from '../files/files.ts';

/** What a running server leaves in its data directory so that its own clients find it. */
export interface RunFiles {
  /** The first 16 hex digits of the SHA-256 of the data directory's real path. */
  workspace: string;
  tokenFile: string;
  /** The owner's token: 32 random bytes, base64url; made at the first start. */
  token: string;
  /** Says where the server is; again where that was lost or changed. */
  publish(server: ServerFile): Promise<void>;
  /** Says that it is gone. */
  retract(): Promise<void>;
}

/** Opens the run files under the workspace's lock. @throws DuragentError `storage_failed` for a token file that holds no token. */
export async function openRunFiles(dataDir: string): Promise<RunFiles> {
  const root = await realpath(dataDir);
  const run = path.join(root, 'run');
  const tokenFile = path.join(root, 'auth', 'token');
  await mkdir(run, { recursive: true, mode: 0o700 });
  await mkdir(path.dirname(tokenFile), { recursive: true, mode: 0o700 });
  const serverFile = path.join(run, 'server.json');
  const pidFile = path.join(run, 'duragent.pid');
  return {
    workspace: createHash('sha256').update(root).digest('hex').slice(0, 16),
    tokenFile,
    token: (await readToken(tokenFile)) ?? (await makeToken(tokenFile)),
    async publish(server) {
      const text = `${JSON.stringify(server, null, 2)}\n`;
      if ((await readIfThere(serverFile)) === text) return;
      await Promise.all([
        replaceFile(nodeFiles, pidFile, `${server.pid}\n`),
        replaceFile(nodeFiles, serverFile, text),
      ]);
    },
    async retract() {
      await rm(serverFile, { force: true });
      await rm(pidFile, { force: true });
    },
  };
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

async function readToken(file: string): Promise<string | null> {
  const text = (await readIfThere(file))?.trim();
  if (text === undefined) return null;
  if (/^[\w-]{43}$/.test(text)) return text;
  throw new DuragentError(
    'storage_failed',
    `${file} holds no token (43 base64url characters); delete it and start again to get a new one.`,
  );
}

async function makeToken(file: string): Promise<string> {
  const token = randomBytes(32).toString('base64url');
  await replaceFile(nodeFiles, file, `${token}\n`);
  return token;
}
