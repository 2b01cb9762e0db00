import type { Behaviour } from '../support/model-server.ts';

/** What a command is called by, and with it what the agents' policies make of it. */
export type Kind = 'quick' | 'plain' | 'forbidden';

/** `policy.yaml` of the agents: the first runs what is not forbidden, the second asks for all but what is quick. */
export const policies = {
  free: `mode: dangerous\ndeny: ["bash:./act forbidden*"]\n`,
  asking: `mode: ask\ndeny: ["bash:./act forbidden*"]\nallow: ["bash:./act quick *"]\n`,
} as const;
export type AgentName = keyof typeof policies;
export const agentNames = Object.keys(policies) as AgentName[];

/** `agent.yaml` of an agent: of the second people are asked what came of commands that were cut. */
export function agentDocument(name: AgentName, modelUrl: string): string {
  const interrupt = name === 'asking' ? { on_interrupt: 'ask' } : {};
  // JSON is YAML.
  return JSON.stringify({
    apiVersion: 'duragent/v1alpha1',
    kind: 'Agent',
    metadata: { name },
    spec: {
      model: { provider: 'openai-compatible', name: 'local', base_url: `${modelUrl}/v1` },
      session: { on_disconnect: 'continue' },
      tools: [
        { type: 'builtin', name: 'bash', ...interrupt },
        { type: 'builtin', name: 'ask_user' },
      ],
    },
  });
}

/** The exit code of commands that fail. */
export const FAILURE_CODE = 3;
/** The timeout of commands that take longer than that, in s. */
const SHORT_S = 1;
/** How long after its call what a command leaves behind notes something, in s. */
const LATE_S = 3;
/** The share of answers to results that call tools again. */
const AGAIN = 0.3;
/** A question that holds this word is answered at the very end. */
export const SLEEPER = 'sleeper';

const tokenPattern = /\bt\d+x\b/;

/** The mark that the commands and questions of one call carry, which stands in no other; null: none. */
export function tokenOf(text: string): string | null {
  return tokenPattern.exec(text)?.[0] ?? null;
}

/** What the command of a call is called by; null: it is none. */
export function kindOf(command: string): Kind | null {
  const kind = /\.\/act (quick|plain|forbidden) /.exec(command)?.[1];
  return kind === 'quick' || kind === 'plain' || kind === 'forbidden' ? kind : null;
}

/** What an answer to a question is; it says which. */
export function answerTo(token: string): string {
  return `answer to ${token}`;
}

/** A model that has agents run commands and ask people, as a random number in [0, 1) wants. */
export class BusyModel {
  readonly #random: () => number;
  #calls = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** What it says to the messages of a request. */
  answer(body: Record<string, unknown>): Behaviour {
    const { messages } = body;
    const last: unknown = Array.isArray(messages) ? messages.at(-1) : null;
    const text = JSON.stringify(last);
    const isResult = text.includes('"role":"tool"');
    if (isResult && (text.includes(SLEEPER) || this.#random() >= AGAIN)) {
      return { type: 'answer', tokens: ['That ', 'is ', 'done.'] };
    }
    if (text.includes(SLEEPER)) return calling([this.#question(SLEEPER)]);
    const count = 1 + Math.floor(this.#random() * 3);
    return calling(Array.from({ length: count }, () => this.#call()));
  }

  #call(): AskedCall {
    if (this.#random() < 0.2) return this.#question('Which');
    const token = this.#token();
    const kind = this.#random();
    const name: Kind = kind < 0.1 ? 'forbidden' : kind < 0.5 ? 'quick' : 'plain';
    return { name: 'bash', arguments: commandOf(name, token, this.#random) };
  }

  #question(word: string): AskedCall {
    const token = this.#token();
    const choices = this.#random() < 0.5 ? { choices: [answerTo(token), 'neither'] } : {};
    return { name: 'ask_user', arguments: { question: `${word} ${token}?`, ...choices } };
  }

  #token(): string {
    this.#calls += 1;
    return `t${this.#calls}x`;
  }
}

interface AskedCall {
  name: string;
  arguments: Record<string, unknown>;
}

function calling(calls: readonly AskedCall[]): Behaviour {
  const toolCalls = calls.map((call, index) => ({ id: `asked_${index + 1}`, ...call }));
  return { type: 'answer', tokens: 0, toolCalls };
}

/** Short and long, plain and in a shell, with children of all sorts, ending well, badly and too late. */
function commandOf(kind: Kind, token: string, random: () => number): Record<string, unknown> {
  const act = (seconds: string, code = 0): string => `./act ${kind} ${token} ${seconds} ${code}`;
  const short = (random() * 0.2).toFixed(2);
  const shape = random();
  if (shape < 0.3) return { command: act(short) };
  if (shape < 0.45) return { command: act((0.4 + random()).toFixed(2)) };
  if (shape < 0.55) return { command: act(short, FAILURE_CODE) };
  if (shape < 0.65) return { command: `cd . && ${act(short)}` };
  if (shape < 0.85) {
    const late = `./act late ${token} ${LATE_S} 0 >/dev/null 2>&1 &`;
    const others = `setsid sleep 300 & nohup sleep 301 >/dev/null 2>&1 &`;
    return { command: `${late} ${others} ${act(short)}` };
  }
  const stubborn = shape < 0.93 ? `trap '' TERM INT HUP; ` : '';
  return { command: `${stubborn}${act('9')}; true`, timeout: SHORT_S };
}
