import type { SandboxPlace } from './sandbox.ts';

/** A program to start, which goes on by itself. */
export interface ProcessStart extends Pick<SandboxPlace, 'cwd' | 'env' | 'network' | 'readable'> {
  /** An id that was never used before. */
  id: string;
  argv: readonly string[];
}

export interface ProcessEnd {
  /** null: a signal ended it, or it is not known. */
  exitCode: number | null;
  signal: string | null;
}

/** A process that was started and has its output kept. */
export interface LiveProcess {
  readonly pid: number;
  /** As the system says when it was started; null: it does not. */
  readonly birth: string | null;
  /** Resolves when it has ended and its output is whole; with null where nobody can say how. Never rejects. */
  readonly ended: Promise<ProcessEnd | null>;
  /** Ends it with all that it started: SIGTERM, and SIGKILL after 2 s. Never rejects. */
  end(): Promise<void>;
  /** Lets go of what is kept for one that has ended, once that is recorded. Never rejects. */
  release(): Promise<void>;
}

export interface PlainProcess extends LiveProcess {
  readonly terminal: false;
  /** Gives it input, and ends the input where `isLast`. @returns why not, in words; null: it has it. */
  write(text: string, isLast: boolean): string | null;
}

export interface TerminalProcess extends LiveProcess {
  readonly terminal: true;
  /** Types a text, then presses keys. @returns why not, in words; null: it is done. */
  send(text: string, keys: readonly string[]): Promise<string | null>;
  /** Resolves when `onText` has had what was printed until now. Never rejects. */
  catchUp(): Promise<void>;
}

/** A piece of an output. */
export interface OutputPiece {
  text: string;
  /** Where it begins and ends, in bytes of the whole. */
  start: number;
  end: number;
  /** How long the whole is. */
  size: number;
}

/** The most that is kept of one output; what comes later is dropped. */
export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Starts processes that outlive their call. What they print is kept under their id. */
export interface Processes {
  /** Starts one that dies with the server. `onText` gets what it prints. @returns why it cannot be, in words for people. */
  start(
    start: ProcessStart,
    options: { onText: (text: string) => void },
  ): Promise<PlainProcess | { fault: string }>;
  /** Starts one in a terminal, which survives the server. As `start`. */
  openTerminal(
    start: ProcessStart,
    options: { onText: (text: string) => void },
  ): Promise<TerminalProcess | { fault: string }>;
  /**
   * Takes over the terminals that an earlier server left. `onText` gets what was printed from byte
   * `from` on. Those that are not asked for are ended. Never rejects.
   * @returns those that are there, also when their program has ended, by id.
   */
  adoptTerminals(
    wanted: ReadonlyMap<string, { from: number; onText: (text: string) => void }>,
  ): Promise<ReadonlyMap<string, TerminalProcess>>;
  /** Ends a process of an earlier server, if the number is still that of the same one. Never rejects. */
  endLeftover(pid: number, birth: string | null): Promise<void>;
  /** What a process printed: at most `bytes` from `start`, or the last. Empty where nothing is kept. Never rejects. */
  output(id: string, where: { start: number | 'end'; bytes: number }): Promise<OutputPiece>;
  /** What is on the terminal of a process, or was when it ended, with at most so many lines above it; null: nothing is known. Never rejects. */
  screen(id: string, linesAbove: number): Promise<string | null>;
  /** Lets go of the terminals, which go on. Plain processes are to be ended first. */
  close(): void;
}
