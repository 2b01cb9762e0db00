import { constants } from 'node:os';
import type { Agent } from '../../core/agent.ts';
import type { CommandOutput, RunOutcome, Sandbox, SandboxNetwork } from '../../ports/sandbox.ts';
import type { Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';

const DEFAULT_TIMEOUT_S = 120;
const MAX_TIMEOUT_S = 3600;
/** Linux takes no longer argument (131,071 bytes); a character has at most 3 bytes a UTF-16 unit. */
const MAX_COMMAND_LENGTH = 40_000;
/** The most of an output that is told to a model, in bytes, whatever its agent says. */
const MAX_TOLD_BYTES = 1024 * 1024;
/** What the lines around the output may take of the model's limit. */
const FRAME_BYTES = 500;

export interface BashToolOptions {
  sandbox: Sandbox;
  /** Absolute path of the folder where commands run. */
  workspace: string;
  /** Whether an agent's commands have a network. */
  networkOf: (agent: Agent) => SandboxNetwork;
  outputs: Pick<ToolOutputs, 'file'>;
  /** `parsePlainCommand` of the core: an argument list where the command is nothing more. */
  parsePlain: (command: string) => { argv: readonly string[] } | { reason: string };
}

/** The built-in tool `bash`: runs a command in the workspace, in the sandbox, to its end. */
export function bashTool(options: BashToolOptions): Tool {
  return {
    name: 'bash',
    description: `Runs one bash command in the workspace folder and gives its output (stdout and stderr together) and exit code. Each call is a new shell: folders changed to, variables and functions do not last, nor do files in /tmp; files in the workspace do. There is no terminal and no input, so use flags such as --yes and never start editors or pagers. Everything the command has started is ended with it: nothing stays in the background. A long output is cut in the middle; filter it with grep, head or tail. Only the workspace can be written.`,
    parameters: {
      type: 'object',
      properties: {
        command: { type: 'string', minLength: 1, maxLength: MAX_COMMAND_LENGTH },
        timeout: {
          type: 'integer',
          minimum: 1,
          maximum: MAX_TIMEOUT_S,
          description: `Seconds until the command is ended; ${DEFAULT_TIMEOUT_S} where it is left out.`,
        },
      },
      required: ['command'],
      additionalProperties: false,
    },
    effect: 'effectful',
    onInterrupt: 'tell_model',
    plan(args) {
      const ask = readAsk(args);
      if ('fault' in ask) return ask;
      return {
        policy: { kind: 'bash', command: ask.command },
        shown: ask.command,
        command: { argv: argvOf(ask.command, options.parsePlain), cwd: options.workspace, env: {} },
      };
    },
    async run(args, { signal, onOutput, caller }) {
      const ask = readAsk(args);
      if ('fault' in ask) return { outcome: 'error', content: ask.fault };
      const toldBytes = toldBytesOf(caller.agent);
      const file = await outputFile(options.outputs, caller);
      const network = options.networkOf(caller.agent);
      const outcome = await options.sandbox.run(
        {
          argv: argvOf(ask.command, options.parsePlain),
          cwd: options.workspace,
          env: {},
          network,
          readable: [caller.agent.home],
          timeoutMs: ask.timeoutS * 1000,
          keepBytes: toldBytes,
          ...(file === null ? {} : { outputFile: file }),
        },
        { signal, onOutput },
      );
      return resultOf(outcome, ask);
    },
  };
}

interface Ask {
  command: string;
  timeoutS: number;
}

function readAsk({
  command,
  timeout = DEFAULT_TIMEOUT_S,
  ...others
}: Record<string, unknown>): Ask | { fault: string } {
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) {
    return {
      fault: `bash takes command and timeout only, not ${JSON.stringify(unknown.slice(0, 50))}.`,
    };
  }
  if (typeof command !== 'string' || command.trim() === '') {
    return { fault: 'bash needs command: the text of one bash command.' };
  }
  if (command.length > MAX_COMMAND_LENGTH) {
    return {
      fault: `The command has ${command.length} characters, at most ${MAX_COMMAND_LENGTH} are run: write a script to a file in several steps, and run that.`,
    };
  }
  if (command.includes('\0') || !command.isWellFormed()) {
    return {
      fault: 'The command holds a character that no command can have (NUL or half a pair).',
    };
  }
  if (
    typeof timeout !== 'number' ||
    !Number.isInteger(timeout) ||
    timeout < 1 ||
    timeout > MAX_TIMEOUT_S
  ) {
    return { fault: `timeout is a whole number of seconds from 1 to ${MAX_TIMEOUT_S}.` };
  }
  return { command, timeoutS: timeout };
}

/** Without a shell where none is needed: then there is nothing that could read the text otherwise. */
function argvOf(command: string, parsePlain: BashToolOptions['parsePlain']): readonly string[] {
  const plain = parsePlain(command);
  return 'argv' in plain ? plain.argv : ['bash', '--noprofile', '--norc', '-c', command];
}

function toldBytesOf(agent: Agent): number {
  const bytes = agent.session.maxToolResultTokens * 4 - FRAME_BYTES;
  return Math.min(Math.max(bytes, FRAME_BYTES), MAX_TOLD_BYTES);
}

/** A command is not refused because its output cannot be kept. */
async function outputFile(
  outputs: BashToolOptions['outputs'],
  { session, call }: ToolCaller,
): Promise<string | null> {
  try {
    return await outputs.file(session, call);
  } catch {
    return null;
  }
}

function resultOf(outcome: RunOutcome, { timeoutS }: Ask): ToolResult {
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

/** Shells give 128 and a signal's number for what a signal has ended. */
function meaningOf(exitCode: number): string {
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
