import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { duragentCommand, type Workspace } from './duragent.ts';
import { until } from './until.ts';

const run = promisify(execFile);
let terminals = 0;

/** A `duragent` command in a terminal of its own (a tmux server of its own, named by its socket). */
export class Terminal {
  readonly #socket: string;
  readonly #output: string;
  readonly #exitFile: string;

  private constructor(socket: string) {
    this.#socket = socket;
    this.#output = `${socket}.out`;
    this.#exitFile = `${socket}.exit`;
  }

  static async open(
    workspace: Workspace,
    args: readonly string[],
    { columns = 100, rows = 40 } = {},
  ): Promise<Terminal> {
    terminals += 1;
    const terminal = new Terminal(path.join(workspace.dir, '..', `tmux-${terminals}`));
    const env = Object.entries({ ...workspace.env, TERM: 'screen-256color' });
    const size = ['-x', String(columns), '-y', String(rows)];
    // The output is recorded before the command begins: `wait-for` holds it back. The exit code goes
    // to a file, because tmux now and then does not notice that a command has ended.
    const begin = `tmux -S '${terminal.#socket}' wait-for begin && env -i "$@"; echo $? > '${terminal.#exitFile}'`;
    const words = env.map(([name, value]) => `${name}=${value ?? ''}`);
    await terminal.#tmux('-f', '/dev/null', 'new-session', '-d', '-c', workspace.dir, ...size, [
      'sh',
      '-c',
      begin,
      'sh',
      ...words,
      ...duragentCommand,
      ...args,
    ]);
    await terminal.#tmux('set', '-g', 'remain-on-exit', 'on');
    await terminal.#tmux('set', '-g', 'history-limit', '5000');
    await terminal.#tmux('pipe-pane', '-O', `cat > '${terminal.#output}'`);
    await terminal.#tmux('wait-for', '-S', 'begin');
    return terminal;
  }

  /** What is on the screen and above it; lines that were wrapped are joined. */
  async screen(): Promise<string> {
    return await this.#tmux('capture-pane', '-p', '-J', '-S', '-');
  }

  /** Every byte that the command wrote. */
  async output(): Promise<string> {
    return await readFile(this.#output, 'utf8');
  }

  /** Waits until the screen shows that. */
  async shows(what: string | RegExp): Promise<string> {
    let screen = '';
    const isShown = async (): Promise<boolean> => {
      screen = await this.screen();
      return typeof what === 'string' ? screen.includes(what) : what.test(screen);
    };
    try {
      await until(`the terminal shows ${String(what)}`, isShown);
    } catch (error) {
      throw new Error(`the terminal does not show ${String(what)} but:\n${screen.trim()}`, {
        cause: error,
      });
    }
    return screen;
  }

  /** Types text, and ends it with Enter. */
  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text);
    await this.press('Enter');
  }

  /** Presses keys by tmux's names, such as `C-d`; other text is typed. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  /** As a terminal pastes: bracketed, if the command asked for that. */
  async paste(text: string): Promise<void> {
    await this.#tmux('set-buffer', text);
    await this.#tmux('paste-buffer', '-p', '-r');
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** Waits for the command's end. @returns its exit code. */
  async exit(): Promise<number> {
    const code = await until('the command ends', async () => {
      return (await readFile(this.#exitFile, 'utf8')).trim();
    });
    return Number(code);
  }

  /** The title that programs may set. */
  async title(): Promise<string> {
    return (await this.#tmux('display', '-p', '#{pane_title}')).trim();
  }

  async close(): Promise<void> {
    await this.#tmux('kill-server');
  }

  async #tmux(...args: (string | string[])[]): Promise<string> {
    const { stdout } = await run('tmux', ['-S', this.#socket, ...args.flat()], {
      env: { PATH: process.env['PATH'], LANG: 'C.UTF-8' },
    });
    return stdout;
  }
}
