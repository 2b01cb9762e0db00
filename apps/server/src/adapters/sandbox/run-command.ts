import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunOutcome, SandboxCommand } from '../../ports/sandbox.ts';
import { openGate } from './gate.ts';
import type { Launch } from './launcher.ts';
import { MAX_FILE_BYTES, OutputCapture } from './output-capture.ts';
import type { OutputPipe, OutputPipes } from './output-pipes.ts';
import { endTree, killGroup } from './process-tree.ts';

/** From SIGTERM until SIGKILL; with what follows it stays under the second that a cancel may take. */
const GRACE_MS = 500;
/** The longest time in ms that `setTimeout` keeps. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** How long something that left its process group may hold the output open after the command's end. */
const DRAIN_MS = 250;
/** Output beyond this rate is read no faster: it would cost the server what its sessions need. */
const BYTES_PER_SLICE = 8 * 1024 * 1024;
const SLICE_MS = 100;
const MAX_REASON_BYTES = 4096;

/**
 * Spawns what a launcher prepared, to die with this process, and sees it to its end. Never rejects.
 * A launch joins the outputs: what comes on stderr is why the program did not start.
 */
export async function runCommand(
  launch: Launch,
  command: SandboxCommand,
  options: {
    signal: AbortSignal;
    ownsNamespace: boolean;
    pipes: OutputPipes;
    onOutput?: ((text: string) => void) | undefined;
  },
): Promise<RunOutcome> {
  const { signal, ownsNamespace } = options;
  const pipe = await options.pipes.open();
  const started = startProcess(launch, pipe, command.stdin !== undefined);
  pipe?.closeWriter();
  if ('reason' in started) {
    pipe?.reader.destroy();
    pipe?.release(true);
    return { end: 'not_started', reason: started.reason };
  }
  const { child, stdout, stderr } = started;
  const startedAt = performance.now();

  let cut: 'timed_out' | 'cancelled' | null = null;
  let hasEnded = false;
  let ending = Promise.resolve();
  const endEarly = (why: 'timed_out' | 'cancelled'): void => {
    if (cut !== null || hasEnded) return;
    cut = why;
    const pid = child.pid;
    if (pid !== undefined) {
      ending = endTree({ pid, ownsNamespace, graceMs: GRACE_MS, hasEnded: () => hasEnded });
    }
  };
  const onAbort = (): void => endEarly('cancelled');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const timer = setTimeout(
    () => endEarly('timed_out'),
    Math.min(Math.max(command.timeoutMs, 0), MAX_TIMEOUT_MS),
  );

  const capture = new OutputCapture({
    ...(command.keepBytes === undefined ? {} : { keepBytes: command.keepBytes }),
    ...(command.outputFile === undefined ? {} : { file: command.outputFile }),
  });
  const reading = readOutput(stdout, capture, options.onOutput);
  const reason = readReason(stderr);
  // A program may end without reading its input: that breaks the pipe and nothing else.
  if (command.stdin !== undefined) child.stdin?.end(command.stdin);

  const exit = await started.exited;
  hasEnded = true;
  clearTimeout(timer);
  signal.removeEventListener('abort', onAbort);
  await ending;
  if (!ownsNamespace && child.pid !== undefined) await killGroup(child.pid);
  if (!ownsNamespace) await closeSoon(stdout, stderr, reading);
  child.stdin?.destroy();
  await reading;
  pipe?.release(ownsNamespace);
  const output = await capture.finish();
  const ran = { durationMs: Math.round(performance.now() - startedAt), output };

  if (exit.error !== null) return { end: 'not_started', reason: spawnFault(exit.error, launch) };
  if (cut !== null) return { end: cut, ...ran };
  const said = (await reason).trim();
  if (said !== '') return { end: 'not_started', reason: said };
  if (exit.code === null) {
    return { end: 'exited', exitCode: null, signal: exit.signal ?? 'unknown', ...ran };
  }
  return { end: 'exited', exitCode: exit.code, signal: null, ...ran };
}

interface Exit {
  code: number | null;
  signal: string | null;
  error: Error | null;
}

interface Started {
  child: ChildProcess;
  stdout: Readable;
  stderr: Readable;
  exited: Promise<Exit>;
}

function startProcess(
  launch: Launch,
  pipe: OutputPipe | null,
  hasInput: boolean,
): Started | { reason: string } {
  try {
    const child = spawn(launch.file, launch.args, {
      cwd: launch.cwd,
      env: launch.env,
      stdio: [hasInput ? 'pipe' : 'ignore', pipe?.writer ?? 'pipe', 'pipe', 'pipe'],
      // In a session of its own: no key pressed in the server's terminal is for it.
      detached: true,
    });
    const { stderr } = child;
    const stdout = pipe?.reader ?? child.stdout;
    if (stdout === null || stderr === null) throw new Error('it has no output');
    for (const stream of [child.stdin, stdout, stderr]) stream?.on('error', () => undefined);
    openGate(child.stdio[3]);
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal, error: null }));
      child.on('error', (error) => {
        // Later ones are signals that could not be sent.
        if (child.pid === undefined) resolve({ code: null, signal: null, error });
      });
    });
    return { child, stdout, stderr, exited };
  } catch (error) {
    return { reason: spawnFault(error, launch) };
  }
}

function spawnFault(error: unknown, launch: Launch): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes('E2BIG')) {
    return 'the command and its environment are too long for the system: put the long part into a file';
  }
  return `${launch.file} could not be started: ${message}`;
}

/** Reads to the end, no faster than is good for the server. Never rejects. */
async function readOutput(
  stream: Readable,
  capture: OutputCapture,
  onOutput: ((text: string) => void) | undefined,
): Promise<void> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const show = (text: string): void => {
    if (text !== '') onOutput?.(text);
  };
  const pace = new Pace();
  try {
    for await (const piece of stream) {
      const chunk = Buffer.from(piece as Buffer);
      if (capture.bytes < MAX_FILE_BYTES) show(decoder.decode(chunk, { stream: true }));
      await capture.add(chunk);
      await pace.took(chunk.length);
    }
  } catch {
    // It was cut off; what came before counts.
  }
  show(decoder.decode());
}

/** Lets so many bytes pass in each slice of time. */
class Pace {
  #sliceEnd = 0;
  #bytes = 0;

  async took(bytes: number): Promise<void> {
    const now = performance.now();
    if (now >= this.#sliceEnd) {
      this.#sliceEnd = now + SLICE_MS;
      this.#bytes = 0;
    }
    this.#bytes += bytes;
    if (this.#bytes >= BYTES_PER_SLICE) await delay(this.#sliceEnd - now);
  }
}

async function readReason(stream: Readable): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of stream) {
      const chunk = Buffer.from(piece as Buffer).subarray(0, MAX_REASON_BYTES - bytes);
      bytes += chunk.length;
      if (chunk.length > 0) parts.push(chunk);
    }
  } catch {
    // As above.
  }
  return Buffer.concat(parts).toString('utf8');
}

/** What escaped its group may keep the pipes for ever. */
async function closeSoon(
  stdout: Readable,
  stderr: Readable,
  reading: Promise<void>,
): Promise<void> {
  const waiting = new AbortController();
  await Promise.race([
    reading,
    delay(DRAIN_MS, undefined, { signal: waiting.signal }).catch(() => undefined),
  ]);
  waiting.abort();
  stdout.destroy();
  stderr.destroy();
}
