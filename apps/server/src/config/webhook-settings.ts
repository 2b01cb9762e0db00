import { isIP } from 'node:net';
import type { FileFault } from '../core/agent.ts';
import { addressFault } from '../core/net/public-address.ts';
import { hostFault } from '../core/net/public-url.ts';
import type { ConfigFile } from './config-schema.ts';
import { filledSecrets, isHidden, longOf } from './filled-secrets.ts';
import type { GoodReading } from './yaml-file.ts';

/** The webhooks of the file, their secrets filled in. */
export interface WebhookSettings {
  /** Whether they may be at addresses that are not public. */
  allowPrivate: boolean;
  /** In the order of the file; no two have one name. */
  outgoing: { name: string; url: string; secret: string }[];
}

export function webhooksOf({ webhooks }: ConfigFile): WebhookSettings {
  return { allowPrivate: webhooks.allow_private, outgoing: webhooks.outgoing };
}

/** Names that are taken, and URLs that could never be reached. */
export function webhookFaults({ value, at }: GoodReading<ConfigFile>): (FileFault | null)[] {
  const { outgoing, allow_private } = value.webhooks;
  const seen = new Set<string>();
  return outgoing.flatMap(({ name, url }, index) => {
    const path = ['webhooks', 'outgoing', index];
    const faults: (FileFault | null)[] = [];
    if (seen.has(name)) {
      const message = `there is a webhook "${name}" above; choose another name`;
      faults.push(at([...path, 'name'], message));
    }
    seen.add(name);
    const fault = allow_private ? null : privateFault(url);
    if (fault !== null) {
      const message = `the host of the URL is ${fault}; write webhooks.allow_private: true if it is meant to be private`;
      faults.push(at([...path, 'url'], message));
    }
    return faults;
  });
}

/** What no log may show of the webhooks: the secrets, and URLs, whose paths often are secrets too. */
export function webhookSecrets({ value, filled }: GoodReading<ConfigFile>): string[] {
  const { outgoing } = value.webhooks;
  return longOf([
    ...outgoing.map(({ secret }) => secret),
    ...outgoing.map(({ url }) => url).filter(isHidden),
    ...filledSecrets(filled(['webhooks', 'outgoing'])),
  ]);
}

/** Why a URL is not public by what is written; null: where its name leads decides when it is used. */
function privateFault(text: string): string | null {
  const host = URL.parse(text)?.hostname.replace(/^\[|\]$/g, '') ?? '';
  return isIP(host) === 0 ? hostFault(host) : addressFault(host);
}
