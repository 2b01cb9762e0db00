import type { GatewayLimits } from '@duragent/protocol';
import type { InboxEntry } from './inbox.ts';

/** An instant `ms` after a fixed one, for tests. */
export function instant(ms = 0): string {
  return new Date(Date.UTC(2026, 10, 21, 12) + ms).toISOString();
}

/** What a person sent, as it is appended, for tests. */
export function arrival(
  key: string,
  more: Partial<Omit<InboxEntry, 'n' | 'key'>> = {},
): Omit<InboxEntry, 'n'> {
  return {
    key,
    at: instant(),
    disposition: 'turn',
    agent: 'echo',
    event: {
      type: 'message_received',
      event_id: key,
      message_id: `m-${key}`,
      edited: false,
      chat_id: 'chat',
      sender: { id: '7', display_name: 'Käthe 🙂', is_bot: false },
      content: { text: `hello from ${key}` },
      routing: { chat_type: 'dm', chat_id: 'chat', sender_id: '7' },
      mentions_bot: false,
      reply_to_bot: false,
      timestamp: instant(),
      metadata: {},
    },
    ...more,
  };
}

/** An arrival that is not kept, for tests. */
export function blocked(key: string): Omit<InboxEntry, 'n'> {
  return { key, at: instant(), disposition: 'block' };
}

/** Limits as a gateway announces them, for tests. */
export function limitsOf(maxLength: number): GatewayLimits {
  return { max_length: maxLength, length_unit: 'utf16', max_buttons: 8, media_max_bytes: 1000 };
}
