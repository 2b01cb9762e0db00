/** How well commands are kept apart from the machine. */
export type SandboxLevel = 'bubblewrap' | 'trust';

export type SandboxNetwork = 'none' | 'all';

/** Where and with what a command runs. */
export interface SandboxPlace {
  /** Absolute; in the workspace, or in a folder of `readable` or `writable`. */
  cwd: string;
  /** Set for it beside the few variables that every command has. */
  env: Readonly<Record<string, string>>;
  network: SandboxNetwork;
  /** Absolute paths of what it may read although it lies in a hidden place, such as the agent's own folder. */
  readable?: readonly string[];
  /** Absolute folders, beside the workspace, where it may write. */
  writable?: readonly string[];
}

/** One command that runs to its end. */
export interface SandboxCommand extends SandboxPlace {
  /** The program, by name or path, and its arguments; no shell reads them. */
  argv: readonly string[];
  /** Its whole standard input, which is empty where this is left out. */
  stdin?: string | Uint8Array;
  timeoutMs: number;
  /** How many bytes of the output are kept in memory, half of its start and half of its end: at most 1 MiB, the default. */
  keepBytes?: number;
  /** Where the output goes as it comes, up to 64 MiB of it; its folder is made. */
  outputFile?: string;
}

/** What a command wrote to stdout and stderr, in the order in which it came; what is not UTF-8 is replaced. */
export interface CommandOutput {
  /** All of it where nothing is left out. */
  head: string;
  /** Its end; empty where nothing is left out. */
  tail: string;
  /** All that it wrote. */
  bytes: number;
  /** How much of that lies between `head` and `tail`. */
  omittedBytes: number;
  /** null: none was asked for, or there was no output. */
  file: OutputFile | null;
}

export interface OutputFile {
  path: string;
  /** How much of the output is in it, from its start. */
  bytes: number;
  /** Why it could not be written to the end, in words for people; null: it could, or it is full. */
  fault: string | null;
}

export type RunOutcome =
  | ({ end: 'exited'; exitCode: number; signal: null } & Ran)
  /** Something from outside ended it. A signal that a command got by itself may also come as exit code 128 + number. */
  | ({ end: 'exited'; exitCode: null; signal: string } & Ran)
  | ({ end: 'timed_out' } & Ran)
  | ({ end: 'cancelled' } & Ran)
  /** Nothing ran; `reason` says why and what to do. */
  | { end: 'not_started'; reason: string };

interface Ran {
  durationMs: number;
  output: CommandOutput;
}

/** What to spawn so that a program runs in the sandbox. */
export interface WrappedCommand {
  file: string;
  args: string[];
  /** The whole environment. */
  env: Record<string, string>;
  /** Where the wrapper itself starts. */
  cwd: string;
  /**
   * To be given what it has as its fourth stream, a pipe, once all is done that is to end it with
   * who spawned it: it begins only then, so that it does not outlive one that is killed meanwhile.
   * null: it needs no such stream and begins at once.
   */
  openGate: ((stream: unknown) => void) | null;
}

/** What the sandbox found out about itself by trying. */
export interface SandboxReport {
  level: SandboxLevel;
  /** Whether `network: none` is kept; where it is not, such a command is not started. */
  network: 'enforced' | 'open';
  /** Whether nothing that a command leaves behind outlives its call, or a server that is killed. */
  endsAll: boolean;
  /** What is kept from commands and what is not, in one sentence for people. */
  description: string;
  /** What did not work, or does not hold, in words for people. Empty: all is well. */
  problems: string[];
}

/**
 * Runs the commands of agents, apart from the machine as well as it can. Disposing of it lets go
 * of what it keeps open; commands are ended by their signals.
 */
export interface Sandbox extends AsyncDisposable {
  /**
   * Starts the self-test at its first call, and gives its result.
   * @throws DuragentError `config_invalid` where the configured level does not work here; nothing is run then.
   */
  ready(): Promise<SandboxReport>;

  /**
   * Runs a command to its end, after the self-test. When it resolves, nothing of it is left (as far
   * as `endsAll` says), and it does so within a second of the signal's abort. Never rejects.
   * `onOutput` gets what is written as it comes, at most 64 MiB of it. A command that writes more
   * than is kept is slowed, and what is too much is dropped.
   */
  run(
    command: SandboxCommand,
    options: { signal: AbortSignal; onOutput?: (text: string) => void },
  ): Promise<RunOutcome>;

  /**
   * How a long-lived program is started in the sandbox by another; its first three streams are its own.
   * It is to be spawned `detached` and ended by `end`, and it dies with who spawned it, unless `keepAlive`.
   * `terminal`: it is given a terminal of its own, and may control it.
   * @returns what to spawn, or why it cannot be, in words for people.
   */
  wrap(
    argv: readonly string[],
    place: SandboxPlace & { keepAlive?: boolean; terminal?: boolean },
  ): Promise<WrappedCommand | { fault: string }>;

  /**
   * Ends a program that was started as `wrap` said, with all that it started: SIGTERM, and SIGKILL
   * to what is left after `graceMs` (default 500). Never rejects.
   */
  end(pid: number, graceMs?: number): Promise<void>;
}
