import {
  startModelServer,
  type Behaviour,
  type ModelServer,
  type ModelServerRequest,
} from './model-server.ts';

/** What was said to a model, as the wire has it. */
export interface ToldMessage {
  role: string;
  content: string;
}

/** What a model was told in a request, without the system's text. */
export function toldIn(request: ModelServerRequest | undefined): ToldMessage[] {
  const messages = (request?.body['messages'] ?? []) as ToldMessage[];
  return messages.filter(({ role }) => role !== 'system');
}

/** What it was told last. */
export function lastTold(request: ModelServerRequest | undefined): string {
  return toldIn(request).at(-1)?.content ?? '';
}

/**
 * A model on loopback that answers `You said: <text>`, unless `behaviours` has another answer for
 * what it was told last. It remembers nothing: an answer that was cut comes again.
 */
export async function startAnsweringModel(
  behaviours: ReadonlyMap<string, Behaviour> = new Map(),
): Promise<ModelServer> {
  const server = await startModelServer();
  server.respond = (request) => {
    const told = lastTold(request);
    return behaviours.get(told) ?? { type: 'answer', tokens: ['You said: ', told] };
  };
  return server;
}
