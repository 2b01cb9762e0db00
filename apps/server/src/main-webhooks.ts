import manifest from '../package.json' with { type: 'json' };
import { systemClock } from './adapters/clock/system.ts';
import type { Config } from './config/load-config.ts';
import { addressFault } from './core/net/public-address.ts';
import { hostFault, urlFault } from './core/net/public-url.ts';
import type { WebhookSender } from './ports/webhook-sender.ts';
import type { Logger } from './runtime/logger.ts';
import { Webhooks } from './runtime/webhooks/webhooks.ts';

/** The webhooks of the configuration; what sends to them is loaded when the first is owed something. */
export function openWebhooks({ webhooks }: Config, log: Logger): Webhooks {
  let loading: Promise<WebhookSender> | undefined;
  const sender: WebhookSender = {
    send: async (request, options) => (await (loading ??= loadSender())).send(request, options),
  };
  return new Webhooks({ clock: systemClock, log, sender, random: Math.random }, webhooks);
}

async function loadSender(): Promise<WebhookSender> {
  const [{ createGuardedFetch }, { ANSWER_MS, httpWebhookSender }] = await Promise.all([
    import('./adapters/web/guarded-fetch.ts'),
    import('./adapters/webhook-sender/http.ts'),
  ]);
  const guardedFetch = createGuardedFetch(
    { urlFault, hostFault, addressFault },
    { userAgent: `Duragent/${manifest.version}`, timeoutMs: ANSWER_MS },
  );
  return httpWebhookSender({ guardedFetch, clock: systemClock });
}
