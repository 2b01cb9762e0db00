import type { Agent } from '../../core/agent.ts';
import type { Sandbox, SandboxNetwork } from '../../ports/sandbox.ts';
import type { Tool } from '../../ports/tool.ts';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';
import { commandResult, outputFileOf, toldBytesOf } from './command-result.ts';

const DEFAULT_TIMEOUT_S = 120;
const MAX_TIMEOUT_S = 3600;
/** Linux takes no longer argument (131,071 bytes); a character has at most 3 bytes a UTF-16 unit. */
const MAX_COMMAND_LENGTH = 40_000;

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
      const file = await outputFileOf(options.outputs, caller);
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
      return commandResult(outcome, ask);
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
