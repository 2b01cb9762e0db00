import type { Behaviour, Gate } from './model-server.ts';

/** The `agent.yaml` of an agent whose model is the model server at `url`; `more` goes below `model:`. */
export function modelAgent(url: string, more = ''): string {
  const model = `{ provider: openai-compatible, name: local, base_url: "${url}/v1"${more} }`;
  return `model: ${model}\nsession: { on_disconnect: continue }`;
}

/** An answer, and its whole text. */
export type WordyAnswer = Extract<Behaviour, { type: 'answer' }> & { text: string };

/** An answer of `count` words whose text says which it is; held after `holdAfter` words until the gate opens. */
export function wordyAnswer(
  name: string,
  count: number,
  hold?: { gate: Gate; holdAfter: number },
): WordyAnswer {
  const tokens = Array.from({ length: count }, (_, index) => `${name}-${index} `);
  return { type: 'answer', tokens, text: tokens.join(''), ...hold };
}
