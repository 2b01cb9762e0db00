import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import type { Launcher } from './launcher.ts';
import type { OutputPipes } from './output-pipes.ts';
import { runCommand } from './run-command.ts';

/** What came of trying. */
export interface SelfTest {
  /** null: commands start; else why they do not. */
  startFault: string | null;
  /** What a command could do that it must not. */
  leaks: string[];
  /** Whether a command without network reached nothing. */
  networkIsClosed: boolean;
}

const PATIENCE_MS = 10_000;

/**
 * Tries, from within, to write outside of the workspace, to read a secret of the data directory and
 * to reach a port of this machine without a network. Leaves nothing behind. Never rejects.
 */
export async function testSandbox(
  launcher: Launcher,
  { workspace, dataDir }: { workspace: string; dataDir: string },
  pipes: OutputPipes,
): Promise<SelfTest> {
  const secret = randomBytes(16).toString('hex');
  const canary = path.join(dataDir, `.canary-${secret.slice(0, 8)}`);
  const outside = path.join(path.dirname(workspace), `.duragent-self-test-${secret.slice(8, 16)}`);
  let reached = false;
  let server: Server | null = null;
  try {
    server = await listen(() => {
      reached = true;
    });
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await writeFile(canary, secret, { mode: 0o600, flag: 'wx' });
    const script = TRIES;
    const launch = await launcher.prepare({
      argv: ['bash', '--noprofile', '--norc', '-c', script, 'bash', canary, outside, String(port)],
      cwd: workspace,
      env: {},
      network: 'none',
      diesWithParent: true,
      terminal: false,
      mergeOutput: true,
    });
    if ('fault' in launch) return { startFault: launch.fault, leaks: [], networkIsClosed: false };
    const outcome = await runCommand(
      launch,
      { argv: [], cwd: workspace, env: {}, network: 'none', timeoutMs: PATIENCE_MS },
      { signal: new AbortController().signal, ownsNamespace: launcher.ownsNamespace, pipes },
    );
    if (outcome.end !== 'exited' || !outcome.output.head.includes(DONE)) {
      const startFault = outcome.end === 'not_started' ? outcome.reason : 'its command did not end';
      return { startFault, leaks: [], networkIsClosed: false };
    }
    const wrote = await rm(outside).then(
      () => true,
      () => false,
    );
    return {
      startFault: null,
      leaks: [
        ...(wrote ? [`a command could write to ${path.dirname(workspace)}`] : []),
        ...(outcome.output.head.includes(secret)
          ? [`a command could read from the data directory ${dataDir}`]
          : []),
      ],
      networkIsClosed: !reached,
    };
  } catch (error) {
    const startFault = error instanceof Error ? error.message : String(error);
    return { startFault, leaks: [], networkIsClosed: false };
  } finally {
    server?.close();
    await rm(canary, { force: true }).catch(() => undefined);
  }
}

const DONE = 'tried all';
/** Nothing that fails may stop it. */
const TRIES = `
cat "$1" 2>/dev/null
(echo x > "$2") 2>/dev/null
(exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null
echo '${DONE}'
`;

function listen(onConnection: () => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      onConnection();
      socket.destroy();
    });
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
    server.unref();
  });
}
