import { WEBHOOK_GATEWAY } from '../../core/webhooks/notification.ts';
import type { Chats } from '../chats.ts';
import type { Webhooks } from './webhooks.ts';

/** A text goes out whole: longer ones than a tool may tell. */
const WHOLE = { maxLength: 100_000, unit: 'chars' } as const;

/** The chats, and beside them the webhooks: what is owed to `webhook:<name>`. Nobody is there to see a preview. */
export function withWebhooks(chats: Chats, webhooks: Webhooks): Chats {
  const isWebhook = (gateway: string): boolean => gateway === WEBHOOK_GATEWAY;
  return {
    limits: (gateway) => (isWebhook(gateway) ? WHOLE : chats.limits(gateway)),
    isPresent: (gateway) => chats.isPresent(gateway),
    send: (part, options) =>
      isWebhook(part.chat.gateway) ? webhooks.send(part, options) : chats.send(part, options),
    showsPreviews: (gateway) => chats.showsPreviews(gateway),
    preview: (...shown) => chats.preview(...shown),
    progress: (...shown) => chats.progress(...shown),
    working: (...shown) => chats.working(...shown),
  };
}
