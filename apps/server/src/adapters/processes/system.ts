import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { LiveProcess, Processes, ProcessStart } from '../../ports/processes.ts';
import type { Sandbox, WrappedCommand } from '../../ports/sandbox.ts';
import { DIRECTORY_MODE } from '../files/files.ts';
import { isSame } from './birth.ts';
import { readOutput } from './output-file.ts';
import { startPlain } from './plain-process.ts';
import { type TerminalFiles, Terminals, withSignals } from './terminals.ts';
import { Tmux } from './tmux.ts';

const GRACE_MS = 2000;

export interface SystemProcessesOptions {
  sandbox: Sandbox;
  /** Absolute; the output of each process lies in `<id>/` of it. */
  directory: string;
  /** Where tmux is found: the server's PATH. */
  searchPath: string;
}

/** Processes of this machine, in the sandbox; interactive ones in tmux. */
export function systemProcesses(options: SystemProcessesOptions): Processes {
  const { sandbox, directory, searchPath } = options;
  const terminals = new Terminals(new Tmux({ directory, searchPath }), sandbox);
  const folderOf = (id: string): string => path.join(directory, id);
  const filesOf = (id: string): TerminalFiles => ({
    output: path.join(folderOf(id), 'output.log'),
    script: path.join(folderOf(id), 'start.sh'),
    screen: path.join(folderOf(id), 'screen.txt'),
  });

  /** Whatever goes wrong is a fault in words: nothing was started then. */
  async function begin<T extends LiveProcess>(
    { id, argv, ...place }: ProcessStart,
    how: { keepAlive: boolean; terminal: boolean },
    start: (wrapped: WrappedCommand) => Promise<T | { fault: string }>,
  ): Promise<T | { fault: string }> {
    try {
      const wrapped = await sandbox.wrap(argv, { ...place, ...how });
      if ('fault' in wrapped) return wrapped;
      await mkdir(folderOf(id), { recursive: true, mode: DIRECTORY_MODE });
      return await start(wrapped);
    } catch (error) {
      return { fault: error instanceof Error ? error.message : String(error) };
    }
  }

  return {
    start: (start, { onText }) =>
      begin(start, { keepAlive: false, terminal: false }, (wrapped) => {
        const folder = folderOf(start.id);
        const outputFile = filesOf(start.id).output;
        return startPlain(wrapped, { sandbox, folder, outputFile, onText });
      }),

    openTerminal: (start, { onText }) =>
      begin(
        { ...start, argv: withSignals(start.argv) },
        { keepAlive: true, terminal: true },
        (wrapped) => terminals.open(start.id, wrapped, filesOf(start.id), onText),
      ),

    adoptTerminals: (wanted) =>
      terminals.adopt(
        new Map([...wanted].map(([id, one]) => [id, { ...one, files: filesOf(id) }])),
      ),

    async endLeftover(pid, birth) {
      if (await isSame(pid, birth)) await sandbox.end(pid, GRACE_MS);
    },

    output: (id, where) => readOutput(filesOf(id).output, where),

    async screen(id, linesAbove) {
      const now = await terminals.capture(id, linesAbove);
      return now ?? (await readFile(filesOf(id).screen, 'utf8').catch(() => null));
    },

    close: () => terminals.close(),
  };
}
