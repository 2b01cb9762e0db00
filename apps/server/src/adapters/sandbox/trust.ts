import { groupScript, initScript, requestFault, SHELL } from './launcher.ts';
import type { Launch, Launcher, LaunchRequest } from './launcher.ts';
import { commandEnvironment } from './environment.ts';

/** What of the kernel's namespaces works here for commands that are trusted. */
export interface TrustMeans {
  setpriv: string;
  unshare: string;
  /** Options of `unshare` that make a namespace of processes. */
  processes: readonly string[];
  /** And those that take the network away; null: that does not work. */
  noNetwork: readonly string[] | null;
}

/** The ways to try, best first: as root, and as a user who may make namespaces of users. */
export const namespaceOptions: readonly (readonly string[])[] = [
  ['--pid', '--mount-proc'],
  ['--pid'],
  ['--user', '--map-current-user', '--pid', '--mount-proc'],
  ['--user', '--map-current-user', '--pid'],
];

/** With the process that `unshare` makes, all others of its namespace die, and it dies with `unshare`. */
export const UNSHARE_FIXED = ['--fork', '--kill-child=KILL'];

/**
 * Starts commands as the server's own user, with all its rights. Where there are means, each has a
 * namespace of processes that ends with it; else it is a process group.
 */
export function trustLauncher(options: {
  means: TrustMeans | null;
  baseEnv: Readonly<Record<string, string | undefined>>;
  isRefusedVariable: (name: string) => boolean;
}): Launcher {
  const { means } = options;
  return {
    ownsNamespace: means !== null,
    prepare: (request) => Promise.resolve(prepare(request, options)),
  };
}

function prepare(
  request: LaunchRequest,
  { means, baseEnv, isRefusedVariable }: Parameters<typeof trustLauncher>[0],
): Launch | { fault: string } {
  const fault = requestFault(request);
  if (fault !== null) return { fault };
  const noNetwork = request.network === 'none' ? (means?.noNetwork ?? null) : [];
  if (noNetwork === null) {
    return {
      fault:
        'this agent has no network, and that cannot be kept here: install bubblewrap, or give the agent network: all',
    };
  }
  const environment = commandEnvironment({
    base: baseEnv,
    tmpDir: baseEnv['TMPDIR'] ?? '/tmp',
    changes: request.env,
    isRefusedVariable,
  });
  if ('fault' in environment) return environment;
  const script = means === null ? groupScript(request) : initScript(request);
  const argv = [SHELL, '-c', script, 'sh', ...request.argv];
  const wrapped = means === null ? argv : wrapInNamespace(means, noNetwork, request, argv);
  const [file = SHELL, ...args] = wrapped;
  return { file, args, env: environment.env, cwd: request.cwd };
}

function wrapInNamespace(
  means: TrustMeans,
  noNetwork: readonly string[],
  { diesWithParent }: LaunchRequest,
  argv: string[],
): string[] {
  const binding = diesWithParent ? [means.setpriv, '--pdeathsig', 'KILL', '--'] : [];
  const options = [...means.processes, ...noNetwork, ...UNSHARE_FIXED];
  return [...binding, means.unshare, ...options, '--', ...argv];
}
