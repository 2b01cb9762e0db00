import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { GatewayView, ReloadReport } from '@duragent/protocol';
import { type Server, Workspace } from './duragent.ts';
import { javascriptOf } from './javascript.ts';
import { eventsOf, readAllLogs, textOf } from './session-log.ts';
import { until } from './until.ts';

const script = javascriptOf(new URL('bad-gateway-main.ts', import.meta.url));

/** The chat and the person that the loopback gateway's load speaks in first. */
export const goodChat = 'shared';
export const goodSender = 'ann';

/** A server is measured where its system says how much memory a process has. */
export const canMeasure = existsSync('/proc/self/status');

/** One behaviour of bad-gateway-main.ts, under a name of its own. */
export interface BadGateway {
  name: string;
  /** Without it, as the name. */
  behaviour?: string;
  settings?: Record<string, string | number>;
  restart?: 'always' | 'on_failure' | 'never';
}

/** A server with a good gateway, and bad ones beside it that come and go. */
export class Bedlam {
  readonly workspace: Workspace;
  server!: Server;
  readonly #seen: Process[] = [];

  private constructor(workspace: Workspace) {
    this.workspace = workspace;
  }

  static async create(): Promise<Bedlam> {
    const workspace = await Workspace.create({
      // Small: what sessions remember of their conversations is not what is measured here.
      echo: `model: echo
access: { dm: { policy: open }, groups: { policy: allowlist }, queue: { debounce: { enabled: false } } }
session: { on_disconnect: continue, context: { max_history_tokens: 100 } }`,
    });
    return new Bedlam(workspace);
  }

  async start(bad: readonly BadGateway[] = []): Promise<void> {
    await this.#configure(bad);
    this.server = await this.workspace.serve();
    await until(
      'the good gateway is ready',
      async () => (await this.view('good')).state === 'ready',
    );
  }

  /** From now on exactly these run beside the good one. */
  async admit(...bad: BadGateway[]): Promise<void> {
    await this.#configure(bad);
    const { status, text } = await this.server.api.post<ReloadReport>('/admin/reload');
    if (status !== 200) throw new Error(`not reloaded: ${status} ${text}`);
  }

  /** The file of what a bad gateway was told to post. */
  #postedFile(name: string): string {
    return path.join(this.workspace.dir, `${name}.posted`);
  }

  async #configure(bad: readonly BadGateway[]): Promise<void> {
    const good = { port: 0, url_file: this.#urlFile };
    const list = [
      { name: 'good', command: 'duragent-gateway-loopback', config: good },
      ...bad.map(({ name, behaviour = name, settings = {}, restart = 'on_failure' }) => ({
        name,
        restart,
        command: process.execPath,
        args: [
          script,
          behaviour,
          `posted=${this.#postedFile(name)}`,
          ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
        ],
      })),
    ];
    const lines = list.map((one) => `    - ${JSON.stringify(one)}`).join('\n');
    const yaml = `default_agent: echo\ngateways:\n  external:\n${lines}\n`;
    // In one step: the server may read it at any time.
    const file = path.join(this.workspace.dir, 'duragent.yaml');
    await writeFile(`${file}.new`, yaml);
    await rename(`${file}.new`, file);
  }

  get #urlFile(): string {
    return path.join(this.workspace.dir, 'good.url');
  }

  /** Where the good gateway listens. */
  async goodUrl(): Promise<string> {
    const text = await readFile(this.#urlFile, 'utf8');
    return (JSON.parse(text) as { url: string }).url;
  }

  /** A gateway as the operator sees it. */
  async view(name: string): Promise<GatewayView> {
    const { body } = await this.server.api.get<{ gateways: GatewayView[] }>('/admin/gateways');
    const view = body.gateways.find((one) => one.name === name);
    if (!view) throw new Error(`${name} is not listed`);
    return view;
  }

  /** Waits until a gateway is in one of these states for a reason. @returns how it is then. */
  async untilIn(states: readonly string[], name: string, reason: RegExp): Promise<GatewayView> {
    const isSo = async (): Promise<GatewayView | false> => {
      const view = await this.view(name);
      if (states.includes(view.state) && reason.test(view.reason ?? '')) return view;
      throw new Error(JSON.stringify(view));
    };
    return (await until(`${name} is ${states.join(' or ')}`, isSo, 40_000)) || this.view(name);
  }

  /** A gateway's own log. */
  async logOf(name: string): Promise<string[]> {
    const { body } = await this.server.api.get<{ lines: string[] }>(`/admin/gateways/${name}/logs`);
    return body.lines;
  }

  /** What the server's log has of a gateway, warnings and errors only. */
  async warnings(name: string): Promise<Record<string, unknown>[]> {
    const text = await readFile(path.join(this.workspace.dataDir, 'logs', 'server.log'), 'utf8');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ gateway, level }) => gateway === name && Number(level) >= WARN);
  }

  /** How often the server's log warns of a gateway in these words. */
  async timesNamed(name: string, words: RegExp): Promise<number> {
    const warnings = await this.warnings(name);
    return warnings.filter(({ msg, why, reason }) => words.test([msg, why, reason].join(' ')))
      .length;
  }

  /** What was told a bad gateway to post. */
  async posted(name: string): Promise<{ chat_id: string; content: string }[]> {
    const text = await readFile(this.#postedFile(name), 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { chat_id: string; content: string });
  }

  /** What is in the logs of the sessions from the people of a gateway, by session. */
  async said(gateway: string): Promise<Map<string, string[]>> {
    const all = new Map<string, string[]>();
    for (const { session, events } of await readAllLogs(this.workspace.dataDir)) {
      const texts = eventsOf(events, 'user_message')
        .filter(({ source }) => source.chat?.gateway === gateway)
        .map(textOf);
      if (texts.length > 0) all.set(session, texts);
    }
    return all;
  }

  /** Waits until so many messages of a gateway are in the logs, or the server has ended. @returns them all. */
  async untilSaid(gateway: string, count: number, patienceMs = PATIENCE_MS): Promise<string[]> {
    const probe = async (): Promise<string[]> => {
      const texts = [...(await this.said(gateway)).values()].flat();
      if (texts.length >= count || !this.server.run.isRunning) return texts;
      // Every log is read for this: not without a pause.
      await delay(200);
      throw new Error(`there are ${texts.length}`);
    };
    return await until(`${gateway} has said ${count}`, probe, patienceMs);
  }

  /** How deliveries have ended so far, by gateway: the outcome and the platform's id. */
  async deliveryEnds(): Promise<Map<string, string[]>> {
    const ends = new Map<string, string[]>();
    for (const { events } of await readAllLogs(this.workspace.dataDir)) {
      const gateways = new Map(
        eventsOf(events, 'assistant_message').flatMap(({ deliveries }) =>
          deliveries.map(({ out, gateway }): [string, string] => [out, gateway]),
        ),
      );
      for (const event of eventsOf(events, 'delivery_finished')) {
        const gateway = gateways.get(event.out) ?? '';
        const end = `${event.outcome} ${event.platform_message_id ?? ''}`;
        ends.set(gateway, [...(ends.get(gateway) ?? []), end]);
      }
    }
    return ends;
  }

  async isReady(): Promise<boolean> {
    return (await this.server.api.call('GET', '/readyz')).status === 200;
  }

  /** Every process that the server has started and that still runs. */
  processes(): Process[] {
    const found = descendantsOf(this.server.run.pid);
    this.#seen.push(...found);
    return found;
  }

  async close(): Promise<void> {
    this.processes();
    await this.workspace.close();
    // Whatever should have ended, and did not.
    for (const { pid } of alive(this.#seen)) process.kill(pid, 'SIGKILL');
  }
}

const WARN = 40;
/** For what a machine that does much else has to write to its disk. */
const PATIENCE_MS = 60_000;

/** People who speak to the good gateway, one message after another, and wait for each answer. */
export class SteadyLoad {
  /** How many messages were answered. */
  answered = 0;
  /** What should not have been there. */
  readonly faults: string[] = [];
  readonly #url: string;
  readonly #running: Promise<unknown>;
  #isOver = false;

  constructor(url: string) {
    this.#url = url;
    this.#running = Promise.all([
      this.#converse(goodChat, goodSender),
      this.#converse('quiet', 'bob'),
    ]);
    this.#running.catch((error: unknown) => this.faults.push(String(error)));
  }

  /** Waits until so many more are answered: the good gateway goes on. */
  async untilAnswered(more: number): Promise<void> {
    const goal = this.answered + more;
    await until(
      `${more} more answers`,
      () => this.faults.length > 0 || this.answered >= goal,
      60_000,
    );
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #converse(chat: string, sender: string): Promise<void> {
    let after = 0;
    for (let n = 1; !this.#isOver; n += 1) {
      const text = `${sender} says ${n}`;
      await this.#call('messages', { chat_id: chat, sender, text });
      let answer: string | undefined;
      while (answer === undefined && !this.#isOver) {
        const reply = await this.#call(`chats/${chat}/messages?after=${after}&wait=30`);
        const { messages, last } = reply as {
          messages: { text: string; preview: boolean }[];
          last: number;
        };
        after = last;
        const [first, ...others] = messages.filter(({ preview }) => !preview);
        if (others.length > 0) this.faults.push(`${chat}: ${others.length} posts too many`);
        answer = first?.text;
      }
      if (answer === undefined) return;
      if (!answer.includes(text)) this.faults.push(`"${text}" is answered by "${answer}"`);
      this.answered += 1;
      await delay(PAUSE_MS);
    }
  }

  async #call(route: string, body?: object): Promise<unknown> {
    const init = body && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    };
    const reply = await fetch(new URL(route, `${this.#url}/`), init);
    if (!reply.ok) throw new Error(`${route}: ${reply.status} ${await reply.text()}`);
    return await reply.json();
  }
}

const PAUSE_MS = 20;

/** Watches a server: whether it is ready, and how much memory it has. */
export class Watch {
  /** Answers of `/readyz` that were not. */
  readonly faults: string[] = [];
  /** The most that the server had, in MiB. */
  peak = 0;
  readonly #running: Promise<void>;
  #isOver = false;

  constructor(bedlam: Bedlam) {
    this.#running = this.#watch(bedlam);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #watch(bedlam: Bedlam): Promise<void> {
    while (!this.#isOver) {
      try {
        this.peak = Math.max(this.peak, memoryOf(bedlam.server.run.pid));
        if (!(await bedlam.isReady())) this.faults.push('not ready');
      } catch (error) {
        this.faults.push(String(error));
      }
      await delay(50);
    }
  }
}

/** What a process has in memory, in MiB. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** A process that can be told from a later one with its id. */
interface Process {
  pid: number;
  parent: number;
  startedAt: string;
}

/** Every process that a process started, and those started. */
function descendantsOf(pid: number): Process[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processOf(Number(name)) ?? []);
  const found = new Set([pid]);
  for (let size = 0; size < found.size;) {
    size = found.size;
    for (const one of all) if (found.has(one.parent)) found.add(one.pid);
  }
  return all.filter((one) => found.has(one.pid) && one.pid !== pid);
}

/** Those that still run; one that nobody has waited for yet does not. */
export function alive(processes: readonly Process[]): Process[] {
  return processes.filter(({ pid, startedAt }) => processOf(pid)?.startedAt === startedAt);
}

function processOf(pid: number): Process | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may hold anything: state, parent …, and as the 22nd field the start.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return null;
    return { pid, parent: Number(fields[1]), startedAt: fields[19] ?? '' };
  } catch {
    return null;
  }
}
