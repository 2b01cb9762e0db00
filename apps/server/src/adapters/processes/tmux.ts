import { execFile } from 'node:child_process';
import { constants } from 'node:os';

/** One pane of a session, as tmux sees it. */
export interface Pane {
  session: string;
  pid: number;
  isDead: boolean;
  exitCode: number | null;
  signal: string | null;
  /** The number of the tmux server. */
  server: number;
}

export interface TmuxOptions {
  /** Where its socket lies; absolute. Where there is no such folder no server runs. */
  directory: string;
  /** Where tmux and the programs of its pipes are found. */
  searchPath: string;
}

const COLUMNS = 160;
const ROWS = 50;
const HISTORY_LINES = 5000;
const TIMEOUT_MS = 5000;
const MAX_BYTES = 4 * 1024 * 1024;
/** Settings of a server of terminals that nobody looks at. `-q`: an older tmux lacks some. */
const SETTINGS = [
  ['-s', 'set-clipboard', 'off'],
  ['-s', 'escape-time', '0'],
  ['-g', 'default-terminal', 'screen-256color'],
  ['-g', 'history-limit', String(HISTORY_LINES)],
  ['-g', 'status', 'off'],
  ['-g', 'allow-rename', 'off'],
  ['-g', 'update-environment', ''],
  ['-g', 'remain-on-exit', 'on'],
  ['-g', 'remain-on-exit-format', ''],
];

/**
 * A tmux server of our own, which goes on when this process ends and ends with its last session.
 * Each session has one pane; a pane whose program has ended stays until its session is killed.
 */
export class Tmux {
  readonly #options: TmuxOptions;

  constructor(options: TmuxOptions) {
    this.#options = options;
  }

  /** Starts a script in a session of its own, what it prints going to a command. @returns why not, in words; null: it runs. */
  async open(session: string, script: string, pipe: string): Promise<string | null> {
    const settings = SETTINGS.flatMap((setting) => ['set-option', '-q', ...setting, ';']);
    const size = ['-x', String(COLUMNS), '-y', String(ROWS)];
    const newSession = [
      'new-session',
      '-d',
      '-s',
      session,
      ...size,
      '--',
      '/bin/sh',
      literal(script),
    ];
    const ran = await this.#run([
      'start-server',
      ';',
      ...settings,
      ...newSession,
      ';',
      // In the same breath: nothing that it prints is missed.
      'pipe-pane',
      '-t',
      target(session),
      literal(unexpanded(pipe)),
    ]);
    return 'fault' in ran ? ran.fault : null;
  }

  /** The panes of all sessions; null: it cannot be asked. None where no server runs. */
  async panes(): Promise<Pane[] | null> {
    const format = [
      'session_name',
      'pane_pid',
      'pane_dead',
      'pane_dead_status',
      'pane_dead_signal',
      'pid',
    ]
      .map((name) => `#{${name}}`)
      .join('|');
    const ran = await this.#run(['list-panes', '-a', '-F', format]);
    if ('fault' in ran) return ran.isGone ? [] : null;
    return ran.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [session = '', pid = '', isDead, status = '', signal = '', server = ''] =
          line.split('|');
        return {
          session,
          pid: Number(pid),
          isDead: isDead === '1',
          exitCode: /^\d+$/.test(status) ? Number(status) : null,
          signal: signalName(signal),
          server: Number(server),
        };
      });
  }

  /** Types a text as it is, then presses keys. @returns why not, in words; null: it is done. */
  async send(session: string, text: string, keys: readonly string[]): Promise<string | null> {
    const to = ['send-keys', '-t', target(session)];
    const ran = await this.#run([
      ...(text === '' ? [] : [...to, '-l', '--', literal(text)]),
      ...(text === '' || keys.length === 0 ? [] : [';']),
      ...(keys.length === 0 ? [] : [...to, '--', ...keys]),
    ]);
    return 'fault' in ran ? ran.fault : null;
  }

  /** The text on the screen, with so many lines above it; null: it is gone. */
  async capture(session: string, linesAbove: number): Promise<string | null> {
    const start = linesAbove > 0 ? ['-S', String(-Math.min(linesAbove, HISTORY_LINES))] : [];
    const ran = await this.#run(['capture-pane', '-p', '-t', target(session), ...start]);
    return 'fault' in ran ? null : ran.text;
  }

  /** Ends a session; harmless where there is none. */
  async kill(session: string): Promise<void> {
    await this.#run(['kill-session', '-t', `=${session}`]);
  }

  async #run(args: string[]): Promise<{ text: string } | { fault: string; isGone: boolean }> {
    const { directory, searchPath } = this.#options;
    // A path relative to the folder: that of a socket may have no more than 107 bytes.
    const all = ['-u', '-S', './tmux.sock', '-f', '/dev/null', ...args];
    const env = { PATH: searchPath, HOME: directory, LC_ALL: 'C.UTF-8', SHELL: '/bin/sh' };
    const options = { cwd: directory, env, timeout: TIMEOUT_MS, maxBuffer: MAX_BYTES };
    return new Promise((resolve) => {
      execFile('tmux', all, options, (error, stdout, stderr) => {
        if (error === null) return resolve({ text: stdout });
        const said = stderr.trim().slice(0, 500);
        resolve({ fault: faultOf(error, said), isGone: NO_SERVER.test(said) || !isThere(error) });
      });
    });
  }
}

const NO_SERVER = /^(no server running|error connecting|no sessions|lost server|server exited)/;

/** tmux says its number, a newer one its name without SIG; null: there was none. */
function signalName(said: string): string | null {
  if (said === '' || said === '0') return null;
  const known = Object.entries(constants.signals).find(([, number]) => String(number) === said);
  return known?.[0] ?? `SIG${said.replace(/^SIG/, '')}`;
}

function isThere(error: Error): boolean {
  return !('code' in error && error.code === 'ENOENT');
}

function faultOf(error: Error, said: string): string {
  if (!isThere(error)) {
    return 'there is no tmux on this machine, and a terminal needs it: install it (apt install tmux), or leave out interactive';
  }
  return `tmux failed: ${said === '' ? error.message : said}`;
}

/** Exactly this session, and not one whose name begins so. */
function target(session: string): string {
  return `=${session}:`;
}

/** An argument that tmux takes as it is: a last ";" would begin another command. */
function literal(argument: string): string {
  return argument.endsWith(';') ? `${argument.slice(0, -1)}\\;` : argument;
}

/** The command of a pipe has its formats and times filled in. */
function unexpanded(command: string): string {
  return command.replaceAll('#', '##').replaceAll('%', '%%');
}
