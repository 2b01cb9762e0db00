import type { TelegramControl } from '../../gateways/telegram/simulator/control.ts';
import {
  startTelegramSimulator,
  type TelegramSimulator,
} from '../../gateways/telegram/simulator/simulator.ts';
import type { Api } from '../support/api.ts';
import { Workspace } from '../support/duragent.ts';
import { modelAgent } from '../support/model-agent.ts';
import { startModelServer, type ModelServer } from '../support/model-server.ts';
import { programFile } from '../support/programs.ts';
import { answerOf, type GivenAnswer, streamOf } from './answers.ts';
import { Crowd } from './crowd.ts';
import { gatherEvidence, outboxOf, type Evidence } from './evidence.ts';
import { Lookout } from './moments.ts';

/** The program of the gateway that a stage's workspace runs. */
export const gatewayBin = programFile('@duragent/gateway-telegram');

type Random = () => number;

/** Everything around the servers of a campaign: a workspace, a simulated Telegram, a model, and people who speak. */
export class Stage {
  readonly workspace: Workspace;
  readonly crowd: Crowd;
  readonly lookout: Lookout;
  /** What the model has answered. */
  readonly given: readonly GivenAnswer[];
  readonly #simulator: TelegramSimulator;
  readonly #model: ModelServer;

  private constructor(parts: {
    workspace: Workspace;
    simulator: TelegramSimulator;
    model: ModelServer;
    crowd: Crowd;
    given: readonly GivenAnswer[];
    lookout: Lookout;
  }) {
    this.workspace = parts.workspace;
    this.#simulator = parts.simulator;
    this.#model = parts.model;
    this.given = parts.given;
    this.lookout = parts.lookout;
    this.crowd = parts.crowd;
    this.lookout.onShown = (text) => {
      const mark = /To (m\d+q):/.exec(text)?.[1];
      if (mark !== undefined) this.crowd.answered(mark);
    };
  }

  /** @param seed of the simulator; @param random gives numbers of a stream of their own for each of 1, 2, 3. */
  static async open(seed: number, random: (stream: number) => Random): Promise<Stage> {
    const [ofModel, ofLookout, ofCrowd] = [random(1), random(2), random(3)];
    const model = await startModelServer({ keep: 1 });
    const given: GivenAnswer[] = [];
    model.respond = ({ body }) => {
      const answer = answerOf(given.length + 1, questionsOf(body), ofModel);
      given.push(answer);
      return streamOf(answer, ofModel);
    };
    const workspace = await Workspace.create({ answerer: agentAt(model.url) });
    const lookout = new Lookout(workspace.dataDir, ofLookout);
    const simulator = await startTelegramSimulator({ seed, onCall: lookout.onCall });
    await workspace.configure(configOf(simulator));
    const crowd = new Crowd(simulator.control, ofCrowd);
    return new Stage({ workspace, simulator, model, crowd, given, lookout });
  }

  /** The hand on the simulated Telegram. */
  get control(): TelegramControl {
    return this.#simulator.control;
  }

  /** What can be known from outside now; without a server, less of it. */
  async gather(api: Api | null): Promise<Evidence> {
    return await gatherEvidence({
      control: this.control,
      said: this.crowd.said,
      given: this.given,
      dataDir: this.workspace.dataDir,
      api,
    });
  }

  /** @throws Error saying what is not at rest. */
  async assertAtRest(api: Api): Promise<void> {
    const waiting = this.control.updates().filter(({ state }) => state === 'waiting');
    if (waiting.length > 0) throw new Error(`${waiting.length} updates wait`);
    const owed = (await outboxOf(api)).filter(({ state }) => state !== 'dead');
    if (owed.length > 0) throw new Error(`owed: ${JSON.stringify(owed)}`);
    const { body } = await api.get<{ sessions: { session: string; turn_state: string }[] }>(
      '/sessions?limit=1000',
    );
    const busy = body.sessions.filter(({ turn_state }) => turn_state !== 'idle');
    if (busy.length > 0) throw new Error(`busy: ${JSON.stringify(busy)}`);
  }

  /** Ends everything; the servers have ended. */
  async close({ keepsFiles }: { keepsFiles: boolean }): Promise<void> {
    if (!keepsFiles) await this.workspace.close();
    await this.#simulator.close();
    await this.#model.close();
  }
}

/** What people said to the model. */
function questionsOf(body: Record<string, unknown>): string {
  const { messages } = body;
  if (!Array.isArray(messages)) return '';
  const isUser = (message: unknown): boolean =>
    typeof message === 'object' && message !== null && 'role' in message && message.role === 'user';
  return JSON.stringify(messages.filter(isUser));
}

function agentAt(url: string): string {
  return `${modelAgent(url).replace('session: {', 'session: { context: { max_history_tokens: 4000 },')}
access:
  dm: { policy: open }
  groups: { policy: open, activation: mention }
  queue: { mode: sequential, max_pending: 1000, debounce: { enabled: false } }`;
}

function configOf({ url, token }: TelegramSimulator): string {
  const gateway = {
    name: 'telegram',
    command: gatewayBin,
    config: { bot_token: token, api_root: url, poll_timeout_seconds: 5 },
    restart: 'always',
  };
  // JSON is YAML.
  return JSON.stringify({ gateways: { external: [gateway] } });
}
