import { setTimeout as delay } from 'node:timers/promises';
import type { ApprovalDecision, ApprovalView, QuestionView } from '@duragent/protocol';
import type { Api } from '../support/api.ts';
import { answer, decide } from '../support/consent.ts';
import type { Ack } from './tools-judge.ts';
import { answerTo, SLEEPER, tokenOf } from './tools-work.ts';

const POLL_MS = 40;
/** How long they think at most, in ms. */
const THINK_MS = 1_500;
/** The share of approvals that nobody decides before their time is over. */
const IGNORED = 0.05;
/** How often somebody presses a button that was pressed already, whenever there is a look at what waits. */
const OLD_BUTTON = 0.1;
const MAX_OLD = 20;

/** What they mean to say about one thing, however often they have to try. */
interface Plan {
  notBefore: number;
  /** Said one after another, or by several at once. */
  words: string[];
  isAtOnce: boolean;
  /** The reply does not reach them: they never know whether it holds. */
  isDeaf: boolean;
  /** Nobody says anything unless everything has to come to rest. */
  isIgnored: boolean;
}

type Say = (to: Api, word: string) => Promise<{ status: number; text: string }>;

/** An approval or a question, and how something is said to it. */
interface Topic {
  id: string;
  say: Say;
}

/** People who decide approvals and answer questions, some twice, some together, some never by themselves. */
export class People {
  /** What they were told that holds. */
  readonly acks: Ack[] = [];
  /** Nothing is left waiting now. */
  isHurried = false;
  /** And what slept through everything is answered too. */
  isLast = false;
  /** Replies that nobody can make sense of. */
  readonly faults: string[] = [];
  readonly #server: () => Api | null;
  readonly #random: () => number;
  readonly #plans = new Map<string, Plan>();
  /** What has been said and acknowledged, newest last. */
  #old: { topic: Topic; word: string }[] = [];
  #isOver = false;
  readonly #running: Promise<void>;

  /** @param server where the server is now; null: nowhere. */
  constructor(server: () => Api | null, random: () => number) {
    this.#server = server;
    this.#random = random;
    this.#running = this.#run();
  }

  /** What they were asked. */
  get asked(): ReadonlySet<string> {
    return new Set(this.#plans.keys());
  }

  /** Ends their work. */
  async leave(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const api = this.#server();
      // Whatever is cut by a kill is tried again.
      if (api !== null) await this.#look(api).catch(() => undefined);
      await delay(POLL_MS);
    }
  }

  async #look(api: Api): Promise<void> {
    const approvals = await api.get<{ approvals: ApprovalView[] }>('/approvals');
    const questions = await api.get<{ questions: QuestionView[] }>('/questions');
    if (approvals.status !== 200 || questions.status !== 200) return;
    const old = this.#old[Math.floor(this.#random() * this.#old.length)];
    await Promise.all([
      ...approvals.body.approvals.map(async (view) => {
        const plan = this.#planOf(view.approval, () => this.#decisions(view), IGNORED);
        const say: Say = (to, word) => decide(to, view, word as ApprovalDecision);
        await this.#carryOut(api, { id: view.approval, say }, plan);
      }),
      ...questions.body.questions.map(async (view) => {
        if (view.text.includes(SLEEPER) && !this.isLast) return;
        const plan = this.#planOf(view.question, () => this.#answers(view));
        const say: Say = (to, word) => answer(to, view, word);
        await this.#carryOut(api, { id: view.question, say }, plan);
      }),
      old && this.#random() < OLD_BUTTON ? this.#say(api, old.topic, old.word) : undefined,
    ]);
  }

  /** What the first says, and what a second would. */
  #decisions({ always }: ApprovalView): string[] {
    const choice = this.#random();
    if (choice < 0.2) return ['deny', 'allow_once'];
    return [choice < 0.23 && always !== null ? 'allow_always' : 'allow_once', 'deny'];
  }

  /** What is right, and something else; what came of a command that was cut they guess. */
  #answers({ text, choices }: QuestionView): string[] {
    const own = answerTo(tokenOf(text) ?? '');
    if (!choices) return [own, `no ${own}`];
    return choices.includes(own) || this.#random() < 0.5 ? choices : choices.toReversed();
  }

  #planOf(id: string, words: () => string[], ignored = 0): Plan {
    const known = this.#plans.get(id);
    if (known) return known;
    const [first = '', second = ''] = words();
    const how = this.#random();
    const plan: Plan = {
      notBefore: performance.now() + this.#random() ** 3 * THINK_MS,
      words: how < 0.15 ? [first, first] : how < 0.3 ? [first, second] : [first],
      isAtOnce: this.#random() < 0.5,
      isDeaf: this.#random() < 0.4,
      isIgnored: how > 1 - ignored,
    };
    this.#plans.set(id, plan);
    return plan;
  }

  async #carryOut(api: Api, topic: Topic, plan: Plan): Promise<void> {
    const isDue = this.isHurried || (!plan.isIgnored && performance.now() >= plan.notBefore);
    if (!isDue) return;
    const say = (word: string): Promise<void> => this.#say(api, topic, word, plan.isDeaf);
    if (plan.isAtOnce) await Promise.allSettled(plan.words.map(say));
    else for (const word of plan.words) await say(word);
  }

  async #say(api: Api, topic: Topic, word: string, isDeaf = false): Promise<void> {
    const { status, text } = await topic.say(api, word);
    // Decided meanwhile, or the server is stopping.
    if (status === 409 || status === 503) return;
    if (status !== 200) this.faults.push(`${topic.id} ${word}: ${status} ${text}`);
    else if (!isDeaf) {
      this.acks.push({ id: topic.id, said: word });
      this.#old = [...this.#old, { topic, word }].slice(-MAX_OLD);
    }
  }
}
