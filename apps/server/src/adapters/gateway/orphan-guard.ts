import { type ChildProcess, spawn } from 'node:child_process';
import type { ServerLog } from './gateway-log.ts';

const SHELL = '/bin/sh';

/**
 * Reads `+ group` and `- group`; at the end of its input, which is when the server has died, it
 * kills the groups that are left. Only builtins: nothing of it depends on a PATH.
 */
const SCRIPT = `
trap '' TERM INT HUP
groups=
while read -r sign group; do
  kept=
  for one in $groups; do
    [ "$one" = "$group" ] || kept="$kept $one"
  done
  groups=$kept
  [ "$sign" = - ] || groups="$groups $group"
done
for one in $groups; do
  kill -s KILL -- "-$one" 2>/dev/null
done
`;

/** One that ends sooner than this after its start is not started again by itself. */
const MIN_LIFE_MS = 1000;

/**
 * Kills process groups when the server dies without having ended them, as by SIGKILL: a shell of
 * a few hundred KB that outlives the server for that moment. It runs while there is something to
 * guard. Without /bin/sh there is no guard, and a child has to end by itself when its stdin ends.
 */
export class OrphanGuard {
  readonly #log: ServerLog;
  readonly #groups = new Set<number>();
  #shell: ChildProcess | null = null;

  constructor(log: ServerLog) {
    this.#log = log;
  }

  /** Guards a process group. @returns a function that stops it; to be called when the group is gone. */
  watch(group: number): () => void {
    this.#groups.add(group);
    if (this.#shell === null) this.#start();
    else this.#say(`+ ${group}`);
    return () => {
      if (!this.#groups.delete(group)) return;
      this.#say(`- ${group}`);
      if (this.#groups.size > 0) return;
      this.#shell?.stdin?.end();
      this.#shell = null;
    };
  }

  #start(): void {
    const startedAt = performance.now();
    // In a session of its own: Ctrl-C in the server's terminal is not for it.
    const shell = spawn(SHELL, ['-c', SCRIPT], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: {},
      cwd: '/',
    });
    this.#shell = shell;
    shell.unref();
    shell.stdin?.on('error', () => undefined);
    const onGone = (why: object): void => {
      if (this.#shell !== shell) return;
      this.#shell = null;
      if (performance.now() - startedAt >= MIN_LIFE_MS) this.#start();
      else this.#log.warn(why, 'no guard: gateways may outlive a server that is killed');
    };
    shell.once('error', (error) => onGone({ err: error }));
    shell.once('exit', (code, signal) => onGone({ code, signal }));
    for (const group of this.#groups) this.#say(`+ ${group}`);
  }

  #say(line: string): void {
    this.#shell?.stdin?.write(`${line}\n`);
  }
}
