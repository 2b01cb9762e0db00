import { constants } from 'node:os';
import type { Agent } from '../../core/agent.ts';
import type { CommandOutput, RunOutcome } from '../../ports/sandbox.ts';
import type { ToolCaller, ToolResult } from '../../ports/tool.ts';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';

/** The most of an output that is told to a model, in bytes, whatever its agent says. */
const MAX_TOLD_BYTES = 1024 * 1024;
/** What the lines around the output may take of the model's limit. */
const FRAME_BYTES = 500;

/** How many bytes of a command's output the model of an agent is told. */
export function toldBytesOf(agent: Agent): number {
  const bytes = agent.session.maxToolResultTokens * 4 - FRAME_BYTES;
  return Math.min(Math.max(bytes, FRAME_BYTES), MAX_TOLD_BYTES);
}

/** The file of a call's output; null: it cannot be kept, for which no command is refused. */
export async function outputFileOf(
  outputs: Pick<ToolOutputs, 'file'>,
  { session, call }: ToolCaller,
): Promise<string | null> {
  try {
    return await outputs.file(session, call);
  } catch {
    return null;
  }
}

/** How a command ended, as the model is told. */
export function commandResult(outcome: RunOutcome, { timeoutS }: { timeoutS: number }): ToolResult {
  if (outcome.end === 'not_started') {
    return { outcome: 'error', content: `The command was not started: ${outcome.reason}.` };
  }
  const { output, durationMs } = outcome;
  const details = {
    duration_ms: durationMs,
    output_bytes: output.bytes,
    omitted_bytes: output.omittedBytes,
  };
  const shown = describeOutput(output);
  switch (outcome.end) {
    case 'timed_out': {
      const head = `The command was ended after ${timeoutS} s, its timeout.`;
      return { outcome: 'timed_out', content: `${head}\n${shown}`, details };
    }
    case 'cancelled':
      return { outcome: 'cancelled', content: `The command was cancelled.\n${shown}`, details };
    case 'exited': {
      const { exitCode, signal } = outcome;
      const head =
        signal === null ? `Exit code ${exitCode}${meaningOf(exitCode)}.` : `Ended by ${signal}.`;
      return {
        outcome: exitCode === 0 ? 'ok' : 'error',
        content: `${head}\n${shown}`,
        details: { exit_code: exitCode, ...(signal === null ? {} : { signal }), ...details },
      };
    }
  }
}

/** Shells give 128 and a signal's number for what a signal has ended: ` (128 + SIGKILL)`, or nothing. */
export function meaningOf(exitCode: number): string {
  const [name] = Object.entries(constants.signals).find(([, it]) => it === exitCode - 128) ?? [];
  return name === undefined ? '' : ` (128 + ${name})`;
}

function describeOutput(output: CommandOutput): string {
  const { head, tail, omittedBytes, bytes, file } = output;
  if (bytes === 0) return 'There was no output.';
  if (omittedBytes === 0) return `Output:\n${head}`;
  const kept =
    file === null || file.fault !== null
      ? 'they are not kept'
      : file.bytes < bytes
        ? `the first ${file.bytes} bytes of the output are kept with the session`
        : 'the whole output is kept with the session';
  return `Output, ${bytes} bytes:\n${head}\n[${omittedBytes} bytes are left out here; ${kept}.]\n${tail}`;
}
