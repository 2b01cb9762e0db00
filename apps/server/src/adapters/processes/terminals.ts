import { stat, writeFile } from 'node:fs/promises';
import type { ProcessEnd, TerminalProcess } from '../../ports/processes.ts';
import { MAX_OUTPUT_BYTES } from '../../ports/processes.ts';
import type { Sandbox, WrappedCommand } from '../../ports/sandbox.ts';
import { FILE_MODE } from '../files/files.ts';
import { birthOf, isRunning, isSame } from './birth.ts';
import { readOutput } from './output-file.ts';
import type { Pane, Tmux } from './tmux.ts';

/** How often the terminals are looked at. */
const POLL_MS = 500;
const GRACE_MS = 2000;
/** How much of an output is looked at in one go; what came before is passed over. */
const MAX_LOOK_BYTES = 256 * 1024;
const FINAL_LINES_ABOVE = 1000;
/** How often tmux is asked again where it does not answer. */
const TRIES = 3;
/** How often it is looked how a program has ended that is not there any more. */
const MOST_LOOKS = 10;

/** Where the files of a terminal lie. */
export interface TerminalFiles {
  output: string;
  script: string;
  screen: string;
}

interface Watched {
  id: string;
  pid: number;
  birth: string | null;
  files: TerminalFiles;
  onText: (text: string) => void;
  /** How far its output was looked at, in bytes. */
  seen: number;
  /** How often it was not there any more, and tmux did not know. */
  looks: number;
  settle: (end: ProcessEnd | null) => void;
}

/** Programs in terminals of tmux, each in a session named by its id. */
export class Terminals {
  readonly #tmux: Tmux;
  readonly #sandbox: Sandbox;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | null = null;
  #looking = Promise.resolve();
  #isClosed = false;

  constructor(tmux: Tmux, sandbox: Sandbox) {
    this.#tmux = tmux;
    this.#sandbox = sandbox;
  }

  /** Starts what the sandbox has wrapped. @returns why it cannot be, in words. */
  async open(
    id: string,
    wrapped: WrappedCommand,
    files: TerminalFiles,
    onText: (text: string) => void,
  ): Promise<TerminalProcess | { fault: string }> {
    await writeFile(files.script, scriptOf(wrapped), { mode: FILE_MODE, flag: 'wx' });
    // In blocks of 512 bytes. What kept it ends there, and the program goes on.
    const pipe = `ulimit -f ${MAX_OUTPUT_BYTES / 512}; exec cat >> ${quoted(files.output)}`;
    const fault = await this.#tmux.open(id, files.script, pipe);
    if (fault !== null) {
      // It may have been started all the same.
      await this.#tmux.kill(id);
      return { fault };
    }
    const pane = (await this.#panes())?.find(({ session }) => session === id);
    if (pane === undefined) {
      await this.#tmux.kill(id);
      return { fault: 'tmux has lost it at once' };
    }
    return this.#watch(pane, files, onText, 0);
  }

  /** Those sessions of an earlier server that are wanted; all others are ended. */
  async adopt(
    wanted: ReadonlyMap<
      string,
      { from: number; onText: (text: string) => void; files: TerminalFiles }
    >,
  ): Promise<Map<string, TerminalProcess>> {
    const adopted = new Map<string, TerminalProcess>();
    for (const pane of (await this.#panes()) ?? []) {
      const one = wanted.get(pane.session);
      if (one === undefined) await this.#end(pane.session, pane);
      else {
        const process = await this.#watch(pane, one.files, one.onText, one.from);
        adopted.set(pane.session, process);
      }
    }
    return adopted;
  }

  /** What is on the terminal; null: it is gone. */
  capture(id: string, linesAbove: number): Promise<string | null> {
    return this.#tmux.capture(id, linesAbove);
  }

  /** Looks at them no more. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#watched.clear();
  }

  async #panes(): Promise<Pane[] | null> {
    for (let tries = 1; ; tries += 1) {
      const panes = await this.#tmux.panes();
      if (panes !== null || tries === TRIES) return panes;
    }
  }

  async #watch(
    pane: Pane,
    files: TerminalFiles,
    onText: (text: string) => void,
    seen: number,
  ): Promise<TerminalProcess> {
    const { session: id, pid } = pane;
    const birth = await birthOf(pid);
    const { promise: ended, resolve: settle } = Promise.withResolvers<ProcessEnd | null>();
    this.#watched.set(id, { id, pid, birth, files, onText, seen, looks: 0, settle });
    this.#poll();
    return {
      terminal: true,
      pid,
      birth,
      ended,
      end: async () => {
        await this.#end(id, { ...pane, isDead: !this.#watched.has(id) }, birth);
        await this.#look();
        await ended;
      },
      release: () => this.#tmux.kill(id),
      send: (text, keys) => this.#tmux.send(id, text, keys),
      catchUp: () => this.#look(),
    };
  }

  /** Ends what runs in a session. The session stays until it is let go, but where nobody asks for it. */
  async #end(id: string, { pid, isDead }: Pane, birth?: string | null): Promise<void> {
    // tmux has reaped one that is dead: its number may be another's.
    const isIt = birth == null || (await isSame(pid, birth));
    if (!isDead && isIt) await this.#sandbox.end(pid, GRACE_MS);
    if (!this.#watched.has(id)) await this.#tmux.kill(id);
  }

  /** Looks at them from time to time, for as long as there are some. */
  #poll(): void {
    if (this.#timer !== null || this.#watched.size === 0 || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#look().then(() => this.#poll());
    }, POLL_MS);
    this.#timer.unref();
  }

  /** One after another. */
  #look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#lookNow());
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const watched = [...this.#watched.values()];
    for (const one of watched) await this.#takeOutput(one);
    const running = await Promise.all(watched.map(({ pid }) => isRunning(pid)));
    const gone = watched.filter((_, index) => !running[index]);
    const panes = gone.length > 0 ? await this.#tmux.panes() : null;
    for (const one of gone) {
      if (panes === null || this.#isClosed) break;
      const pane = panes.find(({ session }) => session === one.id);
      one.looks += 1;
      if (pane && !isKnown(pane) && one.looks < MOST_LOOKS) remind(pane);
      else await this.#settle(one, pane);
    }
  }

  async #settle(one: Watched, pane: Pane | undefined): Promise<void> {
    const screen = pane && (await this.#tmux.capture(one.id, FINAL_LINES_ABOVE));
    if (screen != null) {
      // It can still be seen in the output.
      await writeFile(one.files.screen, screen, { mode: FILE_MODE }).catch(() => undefined);
    }
    await this.#takeOutput(one);
    this.#watched.delete(one.id);
    one.settle(pane ? { exitCode: pane.exitCode, signal: pane.signal } : null);
  }

  async #takeOutput(one: Watched): Promise<void> {
    const size = await stat(one.files.output).then(
      (facts) => facts.size,
      () => 0,
    );
    while (one.seen < size && !this.#isClosed) {
      const start = Math.max(one.seen, size - 4 * MAX_LOOK_BYTES);
      const piece = await readOutput(one.files.output, { start, bytes: MAX_LOOK_BYTES });
      if (piece.end <= start) return;
      one.seen = piece.end;
      one.onText(piece.text);
    }
  }
}

function isKnown({ isDead, exitCode, signal }: Pane): boolean {
  return isDead && (exitCode !== null || signal !== null);
}

/** A tmux that was built with utempter misses the end of a child now and then (tmux issue 4559), and never looks again unless it is told. */
function remind({ server }: Pane): void {
  try {
    if (server > 1) process.kill(server, 'SIGCHLD');
  } catch {
    // It has ended.
  }
}

/** Whether signals that are ignored can be given their meaning back here. */
const CAN_RESTORE = '/usr/bin/env --default-signal=INT true 2>/dev/null';
const FROM_KEYS = 'INT QUIT TSTP';

/**
 * What a script of `scriptOf` is to start in the place of a program: keys such as C-c mean the
 * program, not the sandbox around it, which would die and leave the program behind.
 */
export function withSignals(argv: readonly string[]): string[] {
  const restored = `exec /usr/bin/env --default-signal=${FROM_KEYS.replaceAll(' ', ',')} "$@"`;
  return ['/bin/sh', '-c', `${CAN_RESTORE} && ${restored}; exec "$@"`, 'sh', ...argv];
}

/** A script that becomes the program: an argument of tmux may be no longer than 16 KiB. */
function scriptOf({ file, args, env, cwd }: WrappedCommand): string {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const words = ['/usr/bin/env', '-i', ...variables, file, ...args];
  return [
    `${CAN_RESTORE} && trap '' ${FROM_KEYS}`,
    `cd ${quoted(cwd)} && exec ${words.map(quoted).join(' ')}`,
    '',
  ].join('\n');
}

/** A word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
