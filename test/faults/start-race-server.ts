import { flushCompileCache } from 'node:module';
import path from 'node:path';
import { OrphanGuard } from '../../apps/server/src/adapters/gateway/orphan-guard.ts';
import { systemProcesses } from '../../apps/server/src/adapters/processes/system.ts';
import { openSandbox } from '../../apps/server/src/adapters/sandbox/open-sandbox.ts';
import { spawnInGroups } from '../../apps/server/src/adapters/tool-server/server-process.ts';

/**
 * A server that starts a long-lived program when its input says so, to be killed meanwhile:
 * `node start-race-server.ts WHAT MODE FOLDER MARKER`. WHAT is tool-server or process, MODE
 * bubblewrap, trust or groups; the program is a sleep of MARKER seconds.
 */
const [what, mode, folder = '', marker = ''] = process.argv.slice(2);
const workspace = path.join(folder, 'workspace');
const sandbox = await openSandbox({
  mode: mode === 'bubblewrap' ? 'bubblewrap' : 'trust',
  places: {
    workspace,
    dataDir: path.join(folder, 'data'),
    homes: [],
    envFolders: [],
    hidden: [],
    readOnly: [],
    reserved: [],
  },
  baseEnv: { PATH: process.env['PATH'] },
  isRefusedVariable: () => false,
  ...(mode === 'groups' ? { platform: 'a system without namespaces' } : {}),
});
await sandbox.ready();
const orphans = new OrphanGuard({ debug() {}, info() {}, warn() {}, error() {} });
// It would be started to make a pipe, and taken for the program.
process.env['PATH'] = '/nonexistent';

async function start(): Promise<void> {
  const argv = ['sleep', marker];
  const place = { cwd: workspace, env: {}, network: 'all' as const };
  if (what === 'process') {
    const directory = path.join(folder, 'data', 'processes');
    const processes = systemProcesses({ sandbox, directory, searchPath: '' });
    const started = await processes.start({ id: 'p', argv, ...place }, { onText: () => undefined });
    if ('fault' in started) throw new Error(started.fault);
    return;
  }
  const wrapped = await sandbox.wrap(argv, place);
  if ('fault' in wrapped) throw new Error(wrapped.fault);
  await spawnInGroups((group) => orphans.watch(group))([wrapped.file, ...wrapped.args], wrapped);
}

// Killed, it would leave nothing for the next one, which starts sooner with it.
flushCompileCache();
process.stdin.once('data', () => void start());
process.stdout.write('ready\n');
