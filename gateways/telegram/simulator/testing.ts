import { Api, Bot } from 'grammy';
import {
  startTelegramSimulator,
  type TelegramSimulator,
  type TelegramSimulatorOptions,
} from './simulator.ts';

type ClientOptions = NonNullable<ConstructorParameters<typeof Api>[1]>;

/**
 * Node's own `fetch`, with a signal of Node's own kind: the one that grammy makes is of another
 * package, and Node's `fetch` refuses it.
 */
async function nodeFetch(url: string, init: RequestInit): Promise<Response> {
  const { signal: theirs, ...rest } = init;
  const ours = new AbortController();
  if (theirs?.aborted === true) ours.abort();
  theirs?.addEventListener('abort', () => ours.abort(), { once: true });
  return await fetch(url, { ...rest, signal: ours.signal });
}

/** How grammy reaches a simulator. */
export function clientOf({ url }: { url: string }): ClientOptions {
  return {
    apiRoot: url,
    timeoutSeconds: 20,
    fetch: nodeFetch,
  };
}

export interface Stage extends AsyncDisposable {
  simulator: TelegramSimulator;
  control: TelegramSimulator['control'];
  api: Api;
  bot: Bot;
  /** A person who wrote to the bot before. */
  ada: { id: number };
}

/** A simulator, grammy on it, and a person. */
export async function stage(options: TelegramSimulatorOptions = {}): Promise<Stage> {
  const simulator = await startTelegramSimulator(options);
  const { control, token } = simulator;
  const api = new Api(token, clientOf(simulator));
  const bot = new Bot(token, { client: clientOf(simulator) });
  const ada = control.createUser({ first_name: 'Ada', username: 'ada_l', started: true });
  return { simulator, control, api, bot, ada, [Symbol.asyncDispose]: () => simulator.close() };
}

/** What a call was refused with: code and words, and its parameters if there are any. */
export async function refusalOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof Error) || !('error_code' in error) || !('description' in error)) {
      throw error;
    }
    const { error_code: code, description } = error;
    const parameters = 'parameters' in error ? error.parameters : {};
    const none = JSON.stringify(parameters) === '{}';
    return none ? [code, description] : [code, description, parameters];
  }
  throw new Error('the call was not refused');
}
