import type { Agent } from '../core/agent.ts';
import type { Surroundings } from '../core/context/system-text.ts';
import { cutToBytes } from '../core/cut-to-bytes.ts';
import type { ReadWorkspaceFile } from '../ports/artifact-store.ts';
import type { Clock } from '../ports/clock.ts';

/** What of AGENTS.md is a part of every prompt, in bytes, and how large it may be at all. */
const MAX_PROJECT_BYTES = 32 * 1024;
const MAX_FILE_BYTES = 1024 * 1024;

/** Where the text comes from that agents find around them. */
interface SurroundingSources {
  clock: Clock;
  /** The directives of all agents, in the order of their names. */
  directives: () => Promise<string>;
  /** Reads a file of the working directory. */
  readFile: ReadWorkspaceFile;
  /** For how long AGENTS.md is taken as it was read, in ms. */
  freshMs: number;
  /** What the prompt says of an agent's memory; asked only for agents that have one. */
  memory: (agent: Agent) => Promise<string>;
}

/** Reads what a turn's system text takes from outside the agent's folder. */
export function surroundingsReader(
  sources: SurroundingSources,
): (agent: Agent) => Promise<Surroundings> {
  const project = freshText(sources.clock, sources.freshMs, () => readProject(sources.readFile));
  return async (agent) => {
    const hasMemory = agent.tools.some((one) => one.type === 'builtin' && one.name === 'memory');
    return {
      directives: await sources.directives(),
      memory: hasMemory ? await sources.memory(agent) : '',
      project: await project(),
    };
  };
}

async function readProject(readFile: ReadWorkspaceFile): Promise<string> {
  const reading = await readFile('AGENTS.md', { maxBytes: MAX_FILE_BYTES });
  if (!reading.ok) return '';
  const text = new TextDecoder().decode(reading.bytes);
  const kept = cutToBytes(text, MAX_PROJECT_BYTES);
  if (kept.length === text.length) return text;
  return `${kept}\n[AGENTS.md is longer than is shown here; read the file for the rest.]`;
}

/** A text that many ask for at once, and that is read again only after a while. */
function freshText(
  clock: Clock,
  freshMs: number,
  read: () => Promise<string>,
): () => Promise<string> {
  let known: { text: string; at: number } | null = null;
  let reading: Promise<string> | null = null;
  const readNow = async (): Promise<string> => {
    const at = clock.monotonic();
    const text = await read();
    known = { text, at };
    return text;
  };
  return () => {
    if (known && clock.monotonic() - known.at < freshMs) return Promise.resolve(known.text);
    reading ??= readNow().finally(() => {
      reading = null;
    });
    return reading;
  };
}
