import { type OnInterrupt, visible, type ToolEffect } from '@duragent/protocol';
import type { Agent, AgentTool, FileFault } from '../../core/agent.ts';
import { argumentVariables } from '../../core/cli-tools/argument-variables.ts';
import {
  ANY_PARAMETERS,
  firstParagraph,
  readParameters,
  shortened,
  type CliFrontMatter,
} from '../../core/cli-tools/describe-program.ts';
import { splitSkill } from '../../core/skills.ts';
import type { CliProgram, CliReading, CliToolFiles } from '../../ports/cli-tools.ts';
import type { Sandbox, SandboxNetwork } from '../../ports/sandbox.ts';
import type { CallPlan, Tool } from '../../ports/tool.ts';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';
import { commandResult, outputFileOf, toldBytesOf } from './command-result.ts';
import { onInterruptOf } from './on-interrupt.ts';

/** How long one call may take. */
const TIMEOUT_S = 600;
/** How many agents' last listings are remembered, to say what changed. */
const MAX_REMEMBERED = 1000;

type DeclaredTool = Extract<AgentTool, { type: 'cli' }>;

export interface CliToolsOptions {
  files: CliToolFiles;
  sandbox: Sandbox;
  /** Absolute path of the folder where tools run. */
  workspace: string;
  /** Absolute path of the folder with the tools of all agents. */
  sharedTools: string;
  networkOf: (agent: Agent) => SandboxNetwork;
  outputs: Pick<ToolOutputs, 'file'>;
  /** Reads the front matter of a README with `cliFrontMatterSchema`. */
  readFrontMatter: (
    text: string,
    file: string,
  ) => { ok: true; value: CliFrontMatter } | { ok: false; faults: FileFault[] };
  log: { warn(fields: object, text: string): void };
}

/** A tool with what it is for. */
interface CliTool {
  name: string;
  description: string;
  parameters: Record<string, unknown>;
  effect: ToolEffect;
  onInterrupt: OnInterrupt;
  program: CliProgram;
}

interface CliFault {
  name: string;
  file: string;
  reason: string;
}

interface CliListing {
  tools: CliTool[];
  faults: CliFault[];
}

/** What reading an agent's tools anew has found. */
export interface CliChanges {
  /** Names of all there are now. */
  names: string[];
  added: string[];
  removed: string[];
  changed: string[];
  /** What is broken, in words: `name: reason (file)`. */
  broken: string[];
}

/** The command line tools of agents: those they name, then those in their folders, then those of all. */
export class CliTools {
  readonly #options: CliToolsOptions;
  /** By agent. Least recently looked at first. */
  readonly #last = new Map<string, CliListing>();

  constructor(options: CliToolsOptions) {
    this.#options = options;
  }

  /** The tools that an agent has now; what is broken is left out and logged once. Never rejects. */
  async toolsOf(agent: Agent): Promise<Tool[]> {
    const before = this.#last.get(agent.name);
    const listing = await this.#list(agent, false);
    const known = new Set(before?.faults.map(describeFault));
    for (const fault of listing.faults) {
      if (known.has(describeFault(fault))) continue;
      const { name, file, reason } = fault;
      this.#options.log.warn({ agent: agent.name, tool: name, file }, `not a tool: ${reason}`);
    }
    // Only `reload` says what changed: until then it is compared with what it said last.
    this.#remember(agent.name, before ? { ...before, faults: listing.faults } : listing);
    return listing.tools.map((tool) => this.#tool(tool));
  }

  /** Reads an agent's tools as they are at this moment. Never rejects. */
  async reload(agent: Agent): Promise<CliChanges> {
    const before = new Map(this.#last.get(agent.name)?.tools.map((tool) => [tool.name, tool]));
    const listing = await this.#list(agent, true);
    this.#remember(agent.name, listing);
    const names = listing.tools.map(({ name }) => name);
    return {
      names,
      added: names.filter((name) => !before.has(name)),
      removed: [...before.keys()].filter((name) => !names.includes(name)),
      changed: listing.tools
        .filter(({ name, program }) => {
          const known = before.get(name);
          return known !== undefined && known.program.stamp !== program.stamp;
        })
        .map(({ name }) => name),
      broken: listing.faults.map(describeFault),
    };
  }

  #remember(agent: string, listing: CliListing): void {
    this.#last.delete(agent);
    this.#last.set(agent, listing);
    const [oldest] = this.#last.keys();
    if (this.#last.size > MAX_REMEMBERED && oldest !== undefined) this.#last.delete(oldest);
  }

  async #list(agent: Agent, fresh: boolean): Promise<CliListing> {
    const { files, sharedTools } = this.#options;
    const declared = agent.tools.filter((tool): tool is DeclaredTool => tool.type === 'cli');
    const [named, own, shared] = await Promise.all([
      Promise.all(
        declared.map(async (tool) => {
          const { name, command, readme } = tool;
          return { name, tool, reading: await files.read(agent.home, command, readme, { fresh }) };
        }),
      ),
      files.find(`${agent.home}/tools`, { fresh }),
      files.find(sharedTools, { fresh }),
    ]);
    const listing: CliListing = { tools: [], faults: [] };
    const taken = new Set<string>();
    const all: Listed[] = [...named, ...withoutNamed(named, own), ...shared];
    for (const { name, tool, reading } of all) {
      // One that is broken takes its name, too: another program must not pass for it.
      if (taken.has(name)) continue;
      taken.add(name);
      const described = this.#describe(name, reading, tool);
      if ('reason' in described) listing.faults.push(described);
      else listing.tools.push(described);
    }
    return listing;
  }

  #describe(name: string, reading: CliReading, declared?: DeclaredTool): CliTool | CliFault {
    if (!reading.ok) return { name, file: reading.file, reason: reading.reason };
    const { program } = reading;
    const front = this.#frontMatter(program);
    if ('reason' in front) return { name, ...front };
    const schema = parametersOf(program, front.value);
    if ('reason' in schema) return { name, ...schema };
    const description = [
      declared?.description ?? '',
      front.value.description ?? '',
      firstParagraph(front.body),
    ]
      .map(shortened)
      .find((text) => text !== '');
    if (description === undefined && declared === undefined) {
      const reason = 'it says nothing: write one paragraph about what the tool is for';
      return { name, file: program.readme?.file ?? program.path, reason };
    }
    const effect = declared?.effect ?? 'effectful';
    return {
      name,
      description: description ?? `The command line tool ${name}.`,
      parameters: schema.parameters,
      effect,
      onInterrupt: onInterruptOf(effect, declared?.onInterrupt),
      program,
    };
  }

  #frontMatter({ readme }: CliProgram): Front | { file: string; reason: string } {
    if (readme === null) return { value: {}, body: '' };
    const { file, text } = readme;
    if (!/^\ufeff?---[ \t]*\r?\n/.test(text)) return { value: {}, body: text };
    const split = splitSkill(text);
    if (!split.ok) return { file, reason: `line ${split.line}: ${split.reason}` };
    const read = this.#options.readFrontMatter(split.frontMatter, file);
    if (read.ok) return { value: read.value, body: split.body };
    const [fault] = read.faults;
    return { file, reason: `line ${fault?.line ?? 1}: ${fault?.message ?? 'it does not read'}` };
  }

  #tool({ name, description, parameters, effect, onInterrupt, program }: CliTool): Tool {
    const { workspace, sandbox, networkOf, outputs } = this.#options;
    return {
      name,
      description,
      parameters,
      effect,
      onInterrupt,
      plan(args): CallPlan | { fault: string } {
        const given = argumentVariables(args);
        if ('fault' in given) return given;
        // The stamp binds an approval to the program that people knew.
        const what = `${program.path} (as of ${program.stamp.slice(0, 16)})`;
        return {
          policy: { kind: 'cli', name, args },
          shown: `Run the tool ${name} with ${visible(given.json)}\n${visible(what)}`,
          command: { argv: [program.path], cwd: workspace, env: given.env },
        };
      },
      run: async (args, { signal, onOutput, caller }) => {
        const given = argumentVariables(args);
        if ('fault' in given) return { outcome: 'error', content: given.fault };
        // What was planned with may be a second old.
        const now = (await this.#list(caller.agent, true)).tools.find((one) => one.name === name);
        if (now?.program.stamp !== program.stamp) {
          const content = `${name} was changed just now, and was not run. Call it again.`;
          return { outcome: 'error', content };
        }
        const file = await outputFileOf(outputs, caller);
        const outcome = await sandbox.run(
          {
            argv: [program.path],
            cwd: workspace,
            env: given.env,
            network: networkOf(caller.agent),
            readable: [program.folder],
            stdin: `${given.json}\n`,
            timeoutMs: TIMEOUT_S * 1000,
            keepBytes: toldBytesOf(caller.agent),
            ...(file === null ? {} : { outputFile: file }),
          },
          { signal, onOutput },
        );
        return commandResult(outcome, { timeoutS: TIMEOUT_S });
      },
    };
  }
}

interface Front {
  value: CliFrontMatter;
  /** The README without it. */
  body: string;
}

type Listed = { name: string; tool?: DeclaredTool; reading: CliReading };

/** What is found, without what an agent names itself, perhaps under another name. */
function withoutNamed(named: readonly Listed[], found: readonly Listed[]): Listed[] {
  const paths = new Set(named.flatMap(({ reading }) => (reading.ok ? [reading.program.path] : [])));
  return found.filter(({ reading }) => !reading.ok || !paths.has(reading.program.path));
}

function parametersOf(
  { schema, readme, path }: CliProgram,
  front: CliFrontMatter,
): { parameters: Record<string, unknown> } | { file: string; reason: string } {
  if (schema === null && front.parameters === undefined) return { parameters: ANY_PARAMETERS };
  const file = schema?.file ?? readme?.file ?? path;
  try {
    const value = schema === null ? front.parameters : (JSON.parse(schema.text) as unknown);
    const read = readParameters(value);
    return 'fault' in read ? { file, reason: `the parameters: ${read.fault}` } : read;
  } catch {
    return { file, reason: 'it is not JSON' };
  }
}

function describeFault({ name, file, reason }: CliFault): string {
  return `${name}: ${reason} (${file})`;
}
