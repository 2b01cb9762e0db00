import { Duplex } from 'node:stream';

/**
 * Whoever is to end a program with the server is asked for that on the way here (`--pdeathsig`,
 * `--kill-child`, `--die-with-parent`, or who watches its group), and the kernel does not tell of a
 * parent that died before. So the shell says that it is there, and begins only when the server
 * still answers.
 */
export const GATE = 'echo >&3; read -r go <&3 || exit 125; exec 3<&-';

/** Lets a program begin once it says that it would end with this process. `stream`: what was given to it as its fourth. */
export function openGate(stream: unknown): void {
  if (!(stream instanceof Duplex)) return;
  stream.on('error', () => undefined);
  stream.once('data', () => stream.end('\n'));
}
