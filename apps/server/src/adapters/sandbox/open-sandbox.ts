import { execFile } from 'node:child_process';
import { DuragentError } from '@duragent/protocol';
import type { RunOutcome, Sandbox, SandboxReport } from '../../ports/sandbox.ts';
import {
  bubblewrapLauncher,
  type BubblewrapOptions,
  checkWorkspace,
  reserve,
  type SandboxPlaces,
} from './bubblewrap.ts';
import type { BubblewrapFeatures } from './bubblewrap-arguments.ts';
import { findProgram } from './find-program.ts';
import { openGate } from './gate.ts';
import type { Launcher, LaunchRequest } from './launcher.ts';
import { OutputPipes } from './output-pipes.ts';
import { endTree, isAlive } from './process-tree.ts';
import { runCommand } from './run-command.ts';
import { testSandbox } from './self-test.ts';
import { namespaceOptions, trustLauncher, type TrustMeans, UNSHARE_FIXED } from './trust.ts';

export interface SandboxOptions {
  mode: 'auto' | 'trust' | 'bubblewrap';
  places: SandboxPlaces;
  /** The server's own environment; little of it is handed on. */
  baseEnv: Readonly<Record<string, string | undefined>>;
  /** Whether a variable may not be set for a command: `refusedVariable` of the core. */
  isRefusedVariable: (name: string) => boolean;
  /** `process.platform`, but for tests. */
  platform?: string;
  /** Told once of what came of the self-test. */
  onProven?: (report: SandboxReport) => void;
}

/**
 * Makes the sandbox. Costs next to nothing: it proves itself when `ready` is called, or before the
 * first command.
 * @throws DuragentError `config_invalid` where `mode` is bubblewrap and there is none.
 */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  const isLinux = (options.platform ?? process.platform) === 'linux';
  const pipes = new OutputPipes();
  const bwrap =
    options.mode === 'trust' || !isLinux
      ? null
      : await findProgram('bwrap', options.baseEnv['PATH']);
  if (options.mode === 'bubblewrap' && bwrap === null) {
    throw new DuragentError(
      'config_invalid',
      isLinux
        ? `sandbox.mode is bubblewrap, and there is no program bwrap: install it (${HOW_TO_INSTALL}), or set sandbox.mode`
        : 'sandbox.mode is bubblewrap, which only Linux has: set sandbox.mode to auto or trust',
    );
  }
  return new ProvenSandbox(pipes, async () => {
    const proven = await prove(options, bwrap, isLinux, pipes);
    options.onProven?.(proven.report);
    return proven;
  });
}

const HOW_TO_INSTALL = 'apt install bubblewrap';
const HOW_TO_ALLOW =
  'the kernel must allow namespaces of users: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0, in a container its seccomp profile';

interface Proven {
  launcher: Launcher;
  report: SandboxReport;
}

class ProvenSandbox implements Sandbox {
  readonly #pipes: OutputPipes;
  readonly #prove: () => Promise<Proven>;
  #proven: Promise<Proven> | null = null;

  constructor(pipes: OutputPipes, prove: () => Promise<Proven>) {
    this.#pipes = pipes;
    this.#prove = prove;
  }

  async ready(): Promise<SandboxReport> {
    return (await this.#get()).report;
  }

  async run(...[command, { signal, onOutput }]: Parameters<Sandbox['run']>): Promise<RunOutcome> {
    const preparing = this.#prepare({
      ...command,
      diesWithParent: true,
      terminal: false,
      mergeOutput: true,
    });
    // The self-test may take its time, a cancel may not.
    const prepared = await unlessAborted(preparing, signal);
    if (prepared === null) return CANCELLED;
    if ('fault' in prepared) return { end: 'not_started', reason: prepared.fault };
    const { launch, ownsNamespace } = prepared;
    return runCommand(launch, command, { signal, ownsNamespace, pipes: this.#pipes, onOutput });
  }

  async wrap(...[argv, place]: Parameters<Sandbox['wrap']>): ReturnType<Sandbox['wrap']> {
    const diesWithParent = place.keepAlive !== true;
    const prepared = await this.#prepare({
      ...place,
      argv,
      diesWithParent,
      terminal: place.terminal === true,
      mergeOutput: false,
    });
    if ('fault' in prepared) return prepared;
    return { ...prepared.launch, openGate: diesWithParent ? openGate : null };
  }

  async end(pid: number, graceMs = 500): Promise<void> {
    const { launcher } = await this.#get();
    const { ownsNamespace } = launcher;
    await endTree({ pid, ownsNamespace, graceMs, hasEnded: () => !isAlive(pid) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pipes.close();
    const proven = await this.#proven?.catch(() => null);
    await proven?.launcher.close?.();
  }

  #get(): Promise<Proven> {
    this.#proven ??= this.#prove().catch((error: unknown) => {
      // What was wrong may have been put right when it is asked for again.
      this.#proven = null;
      throw error;
    });
    return this.#proven;
  }

  async #prepare(request: LaunchRequest) {
    try {
      const { launcher } = await this.#get();
      const launch = await launcher.prepare(request);
      return 'fault' in launch ? launch : { launch, ownsNamespace: launcher.ownsNamespace };
    } catch (error) {
      return { fault: error instanceof Error ? error.message : String(error) };
    }
  }
}

const CANCELLED: RunOutcome = {
  end: 'cancelled',
  durationMs: 0,
  output: { head: '', tail: '', bytes: 0, omittedBytes: 0, file: null },
};

/** null: the signal aborted first. `work` never rejects. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return new Promise((resolve) => {
    const stop = (): void => resolve(null);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    void work.then((result) => {
      signal.removeEventListener('abort', stop);
      resolve(result);
    });
  });
}

async function prove(
  options: SandboxOptions,
  bwrap: string | null,
  isLinux: boolean,
  pipes: OutputPipes,
): Promise<Proven> {
  const problems: string[] = [];
  if (bwrap !== null) {
    // A mistake of the configuration is no reason for less of a sandbox.
    await checkWorkspace(options.places);
    const reserved = await reserve(options.places);
    const proven = await proveBubblewrap({ ...options, bwrap, reserved }, pipes, problems);
    if (proven !== null) return proven;
    await reserved.release();
    if (options.mode === 'bubblewrap') {
      throw new DuragentError(
        'config_invalid',
        `sandbox.mode is bubblewrap, and it does not work here: ${problems.join('; ')}. ${HOW_TO_ALLOW}. Or set sandbox.mode to trust`,
      );
    }
    problems.push(HOW_TO_ALLOW);
  } else if (options.mode === 'auto') {
    problems.push(
      isLinux ? `there is no bubblewrap: ${HOW_TO_INSTALL}` : 'only Linux has bubblewrap',
    );
  }
  return proveTrust(options, isLinux, problems);
}

async function proveBubblewrap(
  options: Omit<BubblewrapOptions, 'features'>,
  pipes: OutputPipes,
  problems: string[],
): Promise<Proven | null> {
  const version = await versionOf(options.bwrap);
  const newer = { disableUserns: isAtLeast(version, 0, 8), tmpfsSize: isAtLeast(version, 0, 7) };
  const variants: BubblewrapFeatures[] = [true, false].map((userNamespace) => ({
    ...newer,
    userNamespace,
  }));
  for (const features of variants) {
    const launcher = bubblewrapLauncher({ ...options, features });
    const test = await testSandbox(launcher, options.places, pipes);
    if (test.startFault !== null) {
      problems.push(test.startFault);
      continue;
    }
    const leaks = [
      ...test.leaks,
      ...(test.networkIsClosed ? [] : ['a command without network reached a port of this machine']),
    ];
    if (leaks.length > 0) {
      problems.push(...leaks);
      return null;
    }
    const report: SandboxReport = {
      level: 'bubblewrap',
      network: 'enforced',
      endsAll: true,
      description:
        'Commands run in bubblewrap: they write to the workspace only, see neither homes, secrets nor the data directory, and end with their call. With network: all they reach this machine and its network as any program does.',
      problems: [],
    };
    return { launcher, report };
  }
  return null;
}

async function proveTrust(
  options: SandboxOptions,
  isLinux: boolean,
  problems: string[],
): Promise<Proven> {
  const means = isLinux ? await findTrustMeans(options.baseEnv['PATH']) : null;
  if (means === null) {
    problems.push(
      'what a command leaves behind in a process group of its own may go on after its call, and after a server that is killed',
    );
  }
  const network = (means?.noNetwork ?? null) === null ? 'open' : 'enforced';
  const rights = 'Commands run with all rights of the user that runs the server';
  const ending =
    means === null ? 'their process groups are ended with their call' : 'they end with their call';
  return {
    launcher: trustLauncher({ ...options, means }),
    report: {
      level: 'trust',
      network,
      endsAll: means !== null,
      description: `${rights}; ${ending}.`,
      problems,
    },
  };
}

/** Tries which namespaces work here; null: none, or the programs that make them are missing. */
async function findTrustMeans(searchPath: string | undefined): Promise<TrustMeans | null> {
  const [setpriv, unshare] = await Promise.all(
    ['setpriv', 'unshare'].map((name) => findProgram(name, searchPath)),
  );
  if (setpriv == null || unshare == null) return null;
  for (const processes of namespaceOptions) {
    const tries = async (more: readonly string[]): Promise<boolean> => {
      const args = ['--pdeathsig', 'KILL', '--', unshare, ...processes, ...more, ...UNSHARE_FIXED];
      return (await run(setpriv, [...args, '--', 'true'])) !== null;
    };
    if (!(await tries([]))) continue;
    return { setpriv, unshare, processes, noNetwork: (await tries(['--net'])) ? ['--net'] : null };
  }
  return null;
}

async function versionOf(bwrap: string): Promise<readonly number[]> {
  const said = (await run(bwrap, ['--version'])) ?? '';
  const match = /(\d{1,4})\.(\d{1,4})/.exec(said);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

function isAtLeast([major = 0, minor = 0]: readonly number[], a: number, b: number): boolean {
  return major > a || (major === a && minor >= b);
}

/** What a program wrote to stdout; null: it failed. */
function run(file: string, args: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { timeout: 5000, env: {}, cwd: '/', maxBuffer: 65_536 };
    execFile(file, args, options, (error, stdout) => resolve(error === null ? stdout : null));
  });
}
