import { expect, test } from 'vitest';
import { eventTokens } from '../session/event-tokens.ts';
import type { WindowEvent } from '../session/window.ts';
import { arrange } from './units.ts';

const at = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
const common = (seq: number, minute: number) => ({ seq, epoch: 1, at: at(minute) });

const chat = {
  gateway: 'telegram',
  account: 'telegram',
  chat_id: '-100',
  chat_type: 'group' as const,
  message_id: 'p',
};

test('what was overheard is shown as it was shown at first, however long the answer took', () => {
  const seen: WindowEvent[] = [
    {
      ...common(1, 0),
      type: 'turn_started',
      turn: 't',
      trigger: [],
      agent_hash: '',
      limits: {
        max_tool_iterations: 1,
        turn_timeout_ms: null,
        model_retries: 0,
        fallbacks: 0,
        max_history_tokens: 100,
      },
      queue: 'batch',
    },
    {
      ...common(2, 1),
      type: 'user_message',
      message_id: 'm',
      source: { kind: 'gateway', chat },
      content: [{ type: 'text', text: 'by the way' }],
      handling: 'passive',
    },
  ];
  const answer: WindowEvent = {
    ...common(4, 20),
    type: 'assistant_message',
    turn: 't',
    step: 1,
    attempt: 1,
    message_id: 'a',
    input_seq: 3,
    content: [{ type: 'text', text: 'hello' }],
    tool_calls: [],
    finish_reason: 'stop',
    model: 'm',
    deliveries: [],
  };
  const buffer = { form: 'block' as const, maxAgeMs: 10 * 60_000, maxMessages: 10 };
  const texts = (events: WindowEvent[]) =>
    arrange({ events, sizes: events.map(eventTokens) }, [], buffer).map((unit) =>
      unit.kind === 'said' ? unit.message.text : 'answer',
    );
  expect(texts(seen)).toEqual(['[Said in this chat meanwhile, not to you:]\nsomebody: by the way']);
  expect(texts([...seen, answer])).toEqual([...texts(seen), 'answer']);
});
