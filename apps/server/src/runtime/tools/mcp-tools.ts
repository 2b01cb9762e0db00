import { createHash } from 'node:crypto';
import type { OnInterrupt } from '@duragent/protocol';
import type { ToolPins } from '../../ports/tool-pins.ts';
import type {
  ServerTool,
  ToolServer,
  ToolServerPlace,
  ToolServers,
} from '../../ports/tool-server.ts';
import type { CallPlan, Tool, ToolResult } from '../../ports/tool.ts';
import { onInterruptOf } from './on-interrupt.ts';

/** A server as an agent names it. */
export interface McpEntry {
  name: string;
  place: ToolServerPlace;
  /** Whether what it says of its tools' effects is believed. */
  trusted: boolean;
  /** What becomes of calls that a stop of the server cuts; absent: by what they do. */
  onInterrupt?: OnInterrupt;
}

/** The tools of an agent's servers, and what is missing, in words for people. */
export interface McpListing {
  tools: Tool[];
  faults: string[];
}

export interface McpToolsOptions {
  servers: ToolServers;
  pins: ToolPins;
  log: { warn(fields: object, text: string): void };
}

/** The longest arguments of a call, as JSON. */
const MAX_ARGUMENTS_BYTES = 1024 * 1024;

/** How much of a changed description people are shown. */
const MAX_SHOWN_DESCRIPTION = 2000;

/** The tools of MCP servers, as agents have them. A server runs while its agent names it. */
export class McpTools {
  readonly #options: McpToolsOptions;
  /** By agent, then by the server's name. */
  readonly #servers = new Map<string, Map<string, { key: string; server: ToolServer }>>();
  readonly #closing = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: McpToolsOptions) {
    this.#options = options;
  }

  /**
   * The tools that an agent has now, in the order of its servers, named `server:tool`. A server
   * that is new or was changed is opened, one that is no longer named is closed. Never rejects;
   * when the signal aborts it gives soon what is known.
   */
  async toolsOf(
    agent: string,
    entries: readonly McpEntry[],
    { signal }: { signal: AbortSignal },
  ): Promise<McpListing> {
    const servers = this.#open(agent, entries);
    const listed = await Promise.all(
      servers.map(async ({ entry, server }) => ({
        entry,
        server,
        listing: await server.tools({ signal }),
      })),
    );
    const faults = listed.flatMap(({ listing }) => listing.fault ?? []);
    const offers = listed.flatMap(({ entry, server, listing }) =>
      listing.tools.map((tool) => ({ entry, server, tool, fingerprint: fingerprintOf(tool) })),
    );
    const consent = await this.#consentTo(agent, offers);
    const tools = offers.map((offer) => {
      const { entry, server, tool, fingerprint } = offer;
      const name = fullName(offer);
      const { reason, pin } = consent(name, fingerprint, tool.description);
      return mcpTool({ name, entry, server, tool, fingerprint, mustAsk: reason, accept: pin });
    });
    return { tools, faults };
  }

  /** Closes the servers of agents that are no more. */
  async retain(agents: ReadonlySet<string>): Promise<void> {
    for (const agent of this.#servers.keys()) {
      if (!agents.has(agent)) this.#open(agent, []);
    }
    await Promise.all(this.#closing);
  }

  /** Closes all servers for good. When it resolves nothing of them is left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.retain(new Set());
  }

  /** The servers of these entries, opened, and no others of the agent. */
  #open(agent: string, entries: readonly McpEntry[]): { entry: McpEntry; server: ToolServer }[] {
    const before =
      this.#servers.get(agent) ?? new Map<string, { key: string; server: ToolServer }>();
    const now: typeof before = new Map();
    if (!this.#isClosed) {
      for (const { name, place } of entries) {
        if (now.has(name)) continue;
        const key = JSON.stringify(place);
        const known = before.get(name);
        const same = known?.key === key ? known : null;
        now.set(name, same ?? { key, server: this.#options.servers.open({ agent, name, place }) });
      }
    }
    for (const [name, { server }] of before) {
      if (now.get(name)?.server !== server) this.#close(server);
    }
    if (now.size === 0) this.#servers.delete(agent);
    else this.#servers.set(agent, now);
    return [...now].flatMap(([name, { server }]) => {
      const entry = entries.find((each) => each.name === name);
      return entry === undefined ? [] : [{ entry, server }];
    });
  }

  #close(server: ToolServer): void {
    const closed = server.close();
    this.#closing.add(closed);
    void closed.finally(() => this.#closing.delete(closed));
  }

  /**
   * Remembers tools that were never seen, and says of each why a person has to be asked before it
   * runs; null: it is as it was accepted. What cannot be remembered is always asked about.
   */
  async #consentTo(
    agent: string,
    offers: readonly Offer[],
  ): Promise<
    (
      name: string,
      fingerprint: string,
      description: string,
    ) => { reason: string | null; pin: () => Promise<void> }
  > {
    const { pins, log } = this.#options;
    let known: ReadonlyMap<string, string> = new Map();
    let fault: string | null = null;
    try {
      if (offers.length > 0) known = await pins.read(agent);
      const added = offers.filter((offer) => !known.has(fullName(offer)));
      if (added.length > 0) {
        const fresh = new Map(added.map((offer) => [fullName(offer), offer.fingerprint]));
        await pins.pin(agent, fresh);
        known = new Map([...known, ...fresh]);
      }
    } catch (error) {
      fault = error instanceof Error ? error.message : String(error);
      log.warn({ agent, err: error }, 'the tools that were accepted cannot be remembered');
    }
    return (name, fingerprint, description) => {
      const accepted = known.get(name);
      const reason =
        accepted === fingerprint
          ? null
          : accepted !== undefined
            ? `what its server says of ${name} is not what was accepted before; it now says: ${visibleJson(description.slice(0, MAX_SHOWN_DESCRIPTION))}`
            : `whether ${name} is as it was accepted is not known: ${fault ?? 'it was not remembered'}`;
      const pin = (): Promise<void> => pins.pin(agent, new Map([[name, fingerprint]]));
      return { reason, pin };
    };
  }
}

interface Offer {
  entry: McpEntry;
  server: ToolServer;
  tool: ServerTool;
  fingerprint: string;
}

function fullName({ entry, tool }: Offer): string {
  return `${entry.name}:${tool.name}`;
}

function mcpTool(offer: {
  name: string;
  entry: McpEntry;
  server: ToolServer;
  tool: ServerTool;
  fingerprint: string;
  mustAsk: string | null;
  accept: () => Promise<void>;
}): Tool {
  const { name, entry, server, tool, fingerprint, mustAsk, accept } = offer;
  const effect = !entry.trusted
    ? 'effectful'
    : tool.readOnly
      ? 'pure'
      : tool.idempotent
        ? 'idempotent'
        : 'effectful';
  return {
    name,
    description: tool.description,
    parameters: tool.parameters,
    effect,
    onInterrupt: onInterruptOf(effect, entry.onInterrupt),

    plan(args): CallPlan | { fault: string } {
      const shownArgs = visibleJson(args);
      if (Buffer.byteLength(shownArgs) > MAX_ARGUMENTS_BYTES) {
        return { fault: `the arguments are longer than ${MAX_ARGUMENTS_BYTES} bytes; send less` };
      }
      return {
        policy: { kind: 'mcp', server: entry.name, name: tool.name, args },
        // The fingerprint binds an approval to what its server says of it.
        shown: `Call ${tool.name} of the MCP server ${entry.name} (description ${fingerprint.slice(0, 16)}) with ${shownArgs}`,
        command: null,
        ...(mustAsk === null ? {} : { mustAsk }),
      };
    },

    async run(args, { signal, onOutput }): Promise<ToolResult> {
      // What was planned with is not what a server that has changed since would do.
      const { tools, fault } = await server.tools({ signal, current: true });
      if (signal.aborted) return { outcome: 'cancelled', content: 'The call was cancelled.' };
      if (fault !== null)
        return { outcome: 'error', content: `${fault}. The tool was not called.` };
      const now = tools.find((each) => each.name === tool.name);
      if (now === undefined) {
        return { outcome: 'error', content: `${name} is no longer there. It was not called.` };
      }
      if (fingerprintOf(now) !== fingerprint) {
        const content = `${name} has changed since it was offered, and was not called. Read its description again, and call it anew if it still fits.`;
        return { outcome: 'error', content };
      }
      // Nobody runs it without having been asked: so this is what was accepted.
      if (mustAsk !== null) {
        try {
          await accept();
        } catch {
          // Then it is asked about again, which was said when it could not be read.
        }
      }
      const result = await server.call(tool.name, args, { signal, onProgress: onOutput });
      const { outcome, content, truncated } = result;
      return { outcome, content, ...(truncated ? { details: { truncated } } : {}) };
    },
  };
}

/** Each is asked for at every call of the model. */
const fingerprints = new WeakMap<ServerTool, string>();

/** What a tool is to a model: changed, it is another tool. The order of members does not count. */
function fingerprintOf(tool: ServerTool): string {
  let fingerprint = fingerprints.get(tool);
  if (fingerprint === undefined) {
    const text = JSON.stringify(sorted([tool.name, tool.description, tool.parameters]));
    fingerprint = createHash('sha256').update(text).digest('hex');
    fingerprints.set(tool, fingerprint);
  }
  return fingerprint;
}

/** A JSON value with the members of objects in the order of their names. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [
    key,
    sorted(item),
  ]);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** JSON in which nothing is invisible or turns the text around: such characters are escaped. */
function visibleJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu,
    (character) =>
      Array.from({ length: character.length }, (_, at) => {
        const code = character.charCodeAt(at).toString(16).padStart(4, '0');
        return `\\u${code}`;
      }).join(''),
  );
}
