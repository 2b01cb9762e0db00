import { spawn, type StdioOptions } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { openSandbox } from './open-sandbox.ts';

/**
 * A server with commands that run, as a process of its own that can be killed:
 * `node server.testing.ts MODE FOLDER MARKER`. Its commands are sleeps of MARKER seconds.
 */
const [mode = '', base = '', marker = ''] = process.argv.slice(2);
const workspace = path.join(base, 'workspace');
const dataDir = path.join(base, 'data');
await mkdir(workspace);
await mkdir(dataDir);
const sandbox = await openSandbox({
  mode: mode === 'trust' ? 'trust' : 'bubblewrap',
  places: { workspace, dataDir, homes: [], envFolders: [], hidden: [], readOnly: [], reserved: [] },
  baseEnv: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  isRefusedVariable: () => false,
});
process.stdout.write(`${JSON.stringify(await sandbox.ready())}\n`);

const place = { cwd: workspace, env: {}, network: 'none' as const };
const quiet = '</dev/null >/dev/null 2>&1';
const script = `sleep ${marker} & setsid nohup sleep ${marker} ${quiet} & echo started; sleep ${marker}`;
const argv = ['bash', '-c', script];
void sandbox.run(
  { argv, ...place, timeoutMs: 600_000 },
  {
    signal: new AbortController().signal,
    onOutput: (text) => void process.stdout.write(text),
  },
);
const wrapped = await sandbox.wrap(argv, place);
if ('fault' in wrapped) throw new Error(wrapped.fault);
const { file, args, openGate, ...options } = wrapped;
const stdio: StdioOptions = ['ignore', 'ignore', 'ignore', 'pipe'];
const child = spawn(file, args, { ...options, detached: true, stdio });
openGate?.(child.stdio[3]);
