import { appendFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { systemClock } from '../../adapters/clock/system.ts';
import { fileProcessStore } from '../../adapters/processes/filesystem.ts';
import { systemProcesses } from '../../adapters/processes/system.ts';
import { openSandbox } from '../../adapters/sandbox/open-sandbox.ts';
import { refusedVariable } from '../../core/child-environment.ts';
import { parsePlainCommand } from '../../core/policy/plain-command.ts';
import { processRecordSchema } from '../../core/processes/process-record.ts';
import { testAgent } from '../testing.ts';
import { backgroundProcessTool } from './background-process.ts';
import { BackgroundProcesses, type ProcessOwner } from './background-processes.ts';

const SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';

export interface Wake {
  session: string;
  text: string;
  identity: string;
}

/** The background processes of a server in a folder, as a start of it makes them; real in all but the sessions. */
export async function openStage(base: string, mode: 'trust' | 'bubblewrap') {
  const workspace = path.join(base, 'workspace');
  const dataDir = path.join(base, 'data');
  const home = path.join(dataDir, 'agents', 'assistant');
  for (const folder of [workspace, home]) await mkdir(folder, { recursive: true });
  const sandbox = await openSandbox({
    mode,
    places: {
      workspace,
      dataDir,
      homes: [],
      envFolders: [],
      hidden: [],
      readOnly: [],
      reserved: [],
    },
    baseEnv: { PATH: SEARCH_PATH, LANG: 'C.UTF-8' },
    isRefusedVariable: refusedVariable,
  });
  const directory = path.join(dataDir, 'processes');
  const processes = systemProcesses({ sandbox, directory, searchPath: SEARCH_PATH });
  const store = fileProcessStore({
    directory,
    parse: (value) => processRecordSchema.safeParse(value).data ?? null,
  });
  const warned: string[] = [];
  const wakes = path.join(base, 'wakes.jsonl');
  const stage = {
    /** What a wake does; by default it is written down. */
    wake: (wake: Wake): Promise<void> => appendFile(wakes, `${JSON.stringify(wake)}\n`),
  };
  const all = new BackgroundProcesses({
    processes,
    store,
    clock: systemClock,
    wake: (session, text, identity) => stage.wake({ session, text, identity }),
    log: { warn: (_, text) => void warned.push(text) },
  });
  await all.open();
  const tool = backgroundProcessTool({
    all,
    processes,
    clock: systemClock,
    workspace,
    networkOf: () => 'all',
    parsePlain: parsePlainCommand,
  });
  const agent = testAgent({ home });
  const owner: ProcessOwner = { session: 'session_1', agent: agent.name };
  let calls = 0;
  return Object.assign(stage, {
    all,
    tool,
    agent,
    owner,
    workspace,
    directory,
    processes,
    sandbox,
    store,
    warned,
    /** What sessions were told, also by earlier servers in the folder. */
    async woken(): Promise<Wake[]> {
      const text = await readFile(wakes, 'utf8').catch(() => '');
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Wake);
    },
    /** A caller with a call of its own. */
    caller(session = owner.session) {
      calls += 1;
      const unique = `${process.pid}${String(calls).padStart(6, '0')}`.padStart(26, '0');
      return { session, turn: 'turn_1', call: `call_${unique}`, agent };
    },
  });
}
export type Stage = Awaited<ReturnType<typeof openStage>>;

/** Calls the tool. @throws Error with what it said where that is no success. */
export async function callTool(
  stage: Stage,
  args: Record<string, unknown>,
  caller = stage.caller(),
): Promise<string> {
  const { tool } = stage;
  const signal = new AbortController().signal;
  const result = await tool.run(args, { signal, onOutput: () => undefined, caller });
  if (result.outcome !== 'ok') throw new Error(`${result.outcome}: ${result.content}`);
  return result.content;
}

/** Starts a process. @returns its id. */
export async function spawnTool(
  stage: Stage,
  command: string,
  more: Record<string, unknown> = {},
  caller = stage.caller(),
): Promise<string> {
  const said = await callTool(stage, { action: 'spawn', command, ...more }, caller);
  return /proc_\w+/.exec(said)?.[0] ?? '';
}
