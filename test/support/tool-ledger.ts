import {
  type FSWatcher,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  watch,
} from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** What a command has done to the world, in the order in which it did it. */
export interface LedgerEntry {
  /** `late`: what a command left behind did it, long after the command had its result. */
  mark: 'start' | 'end' | 'late';
  /** Names the call that the command is of. */
  token: string;
  /** The folder where it ran. */
  cwd: string;
}

/**
 * A line is one write to a file opened for appending, so lines of different processes never mix. It
 * outlives the end of any process; against that of the machine nothing is done here.
 */
const PROGRAM = `#!/bin/sh
# act KIND TOKEN SECONDS CODE: notes that it begins and that it ends.
if [ "$1" = late ]; then sleep "$3"; echo "late $2 $PWD" >>ledger; exit; fi
echo "start $2 $PWD" >>ledger
echo "begin $2"
sleep "$3"
echo "end $2 $PWD" >>ledger
echo "end $2"
exit "$4"
`;

/** The ground truth of effects: the program `./act` in folders where commands run, and what it noted. */
export class ToolLedger {
  readonly folders: readonly string[];

  private constructor(folders: readonly string[]) {
    this.folders = folders;
  }

  /** Makes the folders, each with the program. */
  static async create(folders: readonly string[]): Promise<ToolLedger> {
    for (const folder of folders) {
      await mkdir(folder, { recursive: true });
      await writeFile(path.join(folder, 'ledger'), '');
      await writeFile(path.join(folder, 'act'), PROGRAM, { mode: 0o755 });
    }
    return new ToolLedger(folders);
  }

  /** All that was noted, the order kept within each folder. @throws Error for a line that is none. */
  entries(): LedgerEntry[] {
    return this.folders.flatMap((folder) =>
      readFileSync(path.join(folder, 'ledger'), 'utf8').split('\n').slice(0, -1).map(readLine),
    );
  }

  /** Is told of each entry that is added from now on, as soon as it can be seen. @returns what ends that. */
  watch(onEntry: (entry: LedgerEntry) => void): () => void {
    const watchers = this.folders.map((folder): FSWatcher => {
      const file = path.join(folder, 'ledger');
      let seen = statSync(file).size;
      return watch(file, () => {
        const text = readFrom(file, seen);
        const lines = text.split('\n').slice(0, -1);
        seen += Buffer.byteLength(lines.map((line) => `${line}\n`).join(''));
        for (const line of lines) onEntry(readLine(line));
      });
    });
    return () => {
      for (const watcher of watchers) watcher.close();
    };
  }
}

function readFrom(file: string, position: number): string {
  const bytes = Buffer.alloc(Math.max(0, statSync(file).size - position));
  const opened = openSync(file, 'r');
  try {
    return bytes.subarray(0, readSync(opened, bytes, 0, bytes.length, position)).toString();
  } finally {
    closeSync(opened);
  }
}

function readLine(line: string): LedgerEntry {
  const [mark, token = '', cwd = ''] = line.split(' ');
  if ((mark !== 'start' && mark !== 'end' && mark !== 'late') || cwd === '') {
    throw new Error(`no line of a ledger: ${JSON.stringify(line)}`);
  }
  return { mark, token, cwd };
}
