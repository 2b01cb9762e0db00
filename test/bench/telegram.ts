import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  startTelegramSimulator,
  type TelegramSimulator,
} from '../../gateways/telegram/simulator/simulator.ts';
import { Gate, type ModelServer, startModelServer } from '../support/model-server.ts';
import { until } from '../support/until.ts';
import { fullSize, type Row, type Size } from './rows.ts';
import { startDuragent } from './servers.ts';
import { compare, type Pair } from './statistics.ts';
import type { Workshop } from './workshop.ts';

/** People who ask at once, each in a direct chat of their own. */
const CHATS = 20;
const TOKENS = 600;
const PACE_MS = 10;
/** Rounds of all of them. */
const ROUNDS = { full: 3, quick: 1 };
/** Calls of these kinds that are refused once more, where Telegram has a bad day. */
const REFUSED = { every: 10, seconds: 1 };
const PATIENCE_MS = 60_000;
const SETTLE_MS = 2_500;

/** When things happened to one reply, in ms since 1970. */
interface Reply {
  asked: number;
  modelEnded: number;
  visible: number;
}

/** How soon after the model's end its whole answer is visible in a chat, under Telegram's limits. */
export async function measureTelegram(workshop: Workshop, size: Size): Promise<Row[]> {
  await using model = await startModelServer();
  await using telegram = await startTelegramSimulator({ limits: 'telegram' });
  const server = await startDuragent(workshop, makeWorkspace(workshop, { model, telegram }));
  await until('the bot polls', () => telegram.control.bot().is_polling, PATIENCE_MS);
  const rounds = size === fullSize ? ROUNDS.full : ROUNDS.quick;
  await takeRound({ model, telegram }, 1); // loads what the first reply needs
  const usual: Pair[] = [];
  for (let round = 0; round < rounds; round += 1) {
    usual.push(slowest(await takeRound({ model, telegram })));
  }
  telegram.control.addFault({
    fault: { type: 'retry_after', seconds: REFUSED.seconds },
    methods: ['sendMessage', 'sendRichMessage', 'editMessageText'],
    every: REFUSED.every,
  });
  const refused: Pair[] = [];
  for (let round = 0; round < rounds; round += 1) {
    refused.push(slowest(await takeRound({ model, telegram })));
  }
  await server.stop();
  const meaning = `${CHATS} people write to a bot in the same moment, and the model answers each with ${TOKENS} words, ${PACE_MS} ms apart: the replies are shown while they are written, and all end at about the same time. From the question until the simulated Telegram, which refuses what its limits do not allow, shows the whole reply, against until the model's last byte; of each round the chat with the 95th percentile of what is between the two. Each reply has to be one message that only grew, and is not changed after its end.`;
  const goal = { more: 2000 };
  return [
    {
      figure: `whole reply visible in Telegram, 95th percentile of ${CHATS} at once`,
      against: "the model's end",
      unit: 'ms',
      comparison: compare(usual),
      goal,
      meaning,
    },
    {
      figure: 'the same while Telegram refuses more',
      against: "the model's end",
      unit: 'ms',
      comparison: compare(refused),
      goal,
      meaning: `As the row before; every ${REFUSED.every}th posting and edit is answered with 429 and \`retry_after: ${REFUSED.seconds}\`.`,
    },
  ];
}

interface World {
  model: ModelServer;
  telegram: TelegramSimulator;
}

/** A workspace whose server has the built gateway and an agent that everybody may speak with. */
function makeWorkspace(workshop: Workshop, { model, telegram }: World): string {
  const workspace = workshop.newDirectory('workspace');
  const external = [
    {
      name: 'telegram',
      command: process.execPath,
      args: [workshop.programs.telegram],
      config: { bot_token: telegram.token, api_root: telegram.url },
    },
  ];
  mkdirSync(path.join(workspace, 'agents/wordy'), { recursive: true });
  writeFileSync(
    path.join(workspace, 'agents/wordy/agent.yaml'),
    `name: wordy
model: { provider: openai-compatible, name: bench, base_url: '${model.url}/v1' }
access: { dm: { policy: open } }
`,
  );
  writeFileSync(
    path.join(workspace, 'duragent.yaml'),
    `data_dir: ./data
agents: { static: { path: ./agents } }
models: { max_concurrent: ${CHATS} }
gateways: ${JSON.stringify({ external })}
`,
  );
  return workspace;
}

/** Everybody asks, and gets a whole reply. @throws Error when a reply is not one message that grew up to its end. */
async function takeRound({ model, telegram }: World, chats = CHATS): Promise<Reply[]> {
  const { control } = telegram;
  const people = Array.from({ length: chats }, () => control.createUser().id);
  const ends = new Map(people.map((person) => [person, new End()]));
  model.respond = (request) => {
    const person = people.find((one) => request.text.includes(`I am ${one}.`)) ?? 0;
    const gate = ends.get(person);
    const tokens = wordsFor(person);
    return { type: 'answer', tokens, delayMs: PACE_MS, gate, holdAfter: tokens.length };
  };
  const asked = new Map<number, number>();
  for (const person of people) {
    asked.set(person, Date.now());
    control.say({ chat_id: person, text: `I am ${person}. Say ${TOKENS} words.` });
  }
  const last = (person: number) => control.readChat({ chat_id: person }).at(-1);
  const isWhole = (person: number): boolean => last(person)?.text === textFor(person);
  await until('every reply is whole', () => people.every(isWhole), PATIENCE_MS);
  // Whatever was still to be shown of a reply has its turn by then: a chat takes one call a second.
  await sleep(SETTLE_MS);
  return people.map((person) => {
    const messages = control.readChat({ chat_id: person }).filter((one) => one.is_from_bot);
    const [message, ...others] = messages;
    const history = message?.history ?? [];
    const visible = history.at(-1);
    const grew = history.every(({ text }, at) => text.startsWith(history[at - 1]?.text ?? ''));
    if (others.length > 0 || !grew || visible?.text !== textFor(person)) {
      const seen = messages.map(({ text, edits }) => `${text.length} characters, ${edits} edits`);
      throw new Error(`the reply to ${person} is not one message that grew: ${seen.join('; ')}`);
    }
    const modelEnded = ends.get(person)?.at ?? NaN;
    return { asked: asked.get(person) ?? NaN, modelEnded, visible: visible.at };
  });
}

/** Notes when a model's answer ended, and holds nothing back. */
class End extends Gate {
  at = NaN;

  override pass(): Promise<void> {
    this.at = Date.now();
    return Promise.resolve();
  }
}

function wordsFor(person: number): string[] {
  return Array.from({ length: TOKENS }, (_, index) => `${(person + index) % 9973} `);
}

function textFor(person: number): string {
  return wordsFor(person).join('').trim();
}

/** The reply with the 95th percentile of what is between its model's end and its own. */
function slowest(replies: readonly Reply[]): Pair {
  const sorted = replies.toSorted((a, b) => a.visible - a.modelEnded - (b.visible - b.modelEnded));
  const reply = sorted[Math.ceil(sorted.length * 0.95) - 1];
  if (reply === undefined) throw new Error('nothing was measured');
  const { asked, modelEnded, visible } = reply;
  return { duragent: visible - asked, floor: modelEnded - asked };
}
