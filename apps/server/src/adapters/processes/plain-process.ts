import { spawn, type StdioOptions } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { PlainProcess, ProcessEnd } from '../../ports/processes.ts';
import type { Sandbox, WrappedCommand } from '../../ports/sandbox.ts';
import { birthOf } from './birth.ts';
import { keepOutput } from './output-file.ts';
import { makeOutputPipe } from './output-pipe.ts';

const GRACE_MS = 2000;
/** How long something that left the process may hold its output open after the end. */
const DRAIN_MS = 500;
/** How much input may wait until the process reads it. */
const MAX_UNREAD_BYTES = 1024 * 1024;

/**
 * Starts what the sandbox has wrapped, with its output going to a file.
 * @param folder where the process has its files; it exists.
 */
export async function startPlain(
  wrapped: WrappedCommand,
  options: {
    sandbox: Sandbox;
    folder: string;
    outputFile: string;
    onText: (text: string) => void;
  },
): Promise<PlainProcess | { fault: string }> {
  const { sandbox } = options;
  const { endsAll } = await sandbox.ready();
  const started = await spawnWith(wrapped, options.folder);
  if ('fault' in started) return started;
  const { child, pid, outputs } = started;
  let isOver = false;
  const exited = new Promise<ProcessEnd>((resolve) => {
    child.once('exit', (exitCode, signal) => {
      isOver = true;
      resolve({ exitCode, signal });
    });
  });
  const keeping = keepOutput(outputs, options.outputFile, { onText: options.onText });
  const birth = await birthOf(pid);

  const finish = async (): Promise<ProcessEnd> => {
    const end = await exited;
    // What it has left in its group, where the sandbox has no better means.
    if (!endsAll) signalGroup(pid);
    child.stdin?.destroy();
    await Promise.race([keeping, delay(DRAIN_MS)]);
    for (const output of outputs) output.destroy();
    await keeping;
    return end;
  };
  const ended = finish();

  return {
    terminal: false,
    pid,
    birth,
    ended,
    async end() {
      if (!isOver) await sandbox.end(pid, GRACE_MS);
      await ended;
    },
    release: () => Promise.resolve(),
    write(text, isLast) {
      const { stdin } = child;
      if (isOver || stdin === null || !stdin.writable) return 'its input has been closed';
      if (stdin.writableLength > MAX_UNREAD_BYTES) {
        return 'it does not read its input: more than 1 MiB is waiting';
      }
      if (text !== '') stdin.write(text);
      if (isLast) stdin.end();
      return null;
    },
  };
}

async function spawnWith(
  { file, args, env, cwd, openGate }: WrappedCommand,
  folder: string,
): Promise<
  { child: ReturnType<typeof spawn>; pid: number; outputs: Readable[] } | { fault: string }
> {
  const pipe = await makeOutputPipe(folder);
  const to = pipe?.writer ?? 'pipe';
  try {
    // In a session of its own: no key pressed in the server's terminal is for it.
    const stdio: StdioOptions = ['pipe', to, to, openGate ? 'pipe' : 'ignore'];
    const child = spawn(file, args, { env, cwd, stdio, detached: true });
    for (const stream of child.stdio) stream?.on('error', () => undefined);
    const { pid } = child;
    if (pid === undefined) {
      const error = await new Promise<Error>((resolve) => child.once('error', resolve));
      pipe?.reader.destroy();
      return { fault: faultOf(error, file) };
    }
    openGate?.(child.stdio[3]);
    // Later ones are signals that could not be sent.
    child.on('error', () => undefined);
    const { stdout, stderr } = child;
    const outputs = pipe ? [pipe.reader] : [stdout, stderr].filter((stream) => stream !== null);
    pipe?.reader.on('error', () => undefined);
    return { child, pid, outputs };
  } catch (error) {
    pipe?.reader.destroy();
    return { fault: faultOf(error, file) };
  } finally {
    if (pipe) closeSync(pipe.writer);
  }
}

function faultOf(error: unknown, file: string): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.includes('E2BIG')
    ? 'the command and its environment are too long for the system: put the long part into a file'
    : `${file} could not be started: ${message}`;
}

function signalGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of it.
  }
}
