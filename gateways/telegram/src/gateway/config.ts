import { GatewayFatalError } from '@duragent/protocol/node';

/** The gateway's map in duragent.yaml. */
export interface TelegramConfig {
  botToken: string;
  /** Without a slash at its end. */
  apiRoot: string;
  pollTimeoutSeconds: number;
  streaming: 'edit' | 'draft';
}

const configKeys = ['bot_token', 'api_root', 'poll_timeout_seconds', 'streaming'];

/** Reads the gateway's config. @throws GatewayFatalError that never shows the token. */
export function readConfig(config: Readonly<Record<string, unknown>>): TelegramConfig {
  for (const key of Object.keys(config)) {
    if (configKeys.includes(key)) continue;
    const near = configKeys.find((known) => distance(known, key) <= 3);
    const hint =
      near === undefined ? `known are ${configKeys.join(', ')}` : `did you mean "${near}"?`;
    throw invalid(`unknown key "${key.slice(0, 100)}": ${hint}`);
  }
  const {
    bot_token: token,
    api_root: root = 'https://api.telegram.org',
    poll_timeout_seconds: poll = 30,
    streaming = 'edit',
  } = config;
  if (typeof token !== 'string' || token === '') {
    throw invalid('bot_token is missing: @BotFather gives one for each bot');
  }
  if (!/^\d{1,20}:[\w-]{1,200}$/.test(token)) {
    throw invalid('bot_token is no token: @BotFather writes it as digits, a colon, and letters');
  }
  if (typeof root !== 'string' || !/^https?:\/\//.test(root) || !URL.canParse(root)) {
    throw invalid('api_root is no address: it starts with https:// or http://');
  }
  if (typeof poll !== 'number' || !Number.isInteger(poll) || poll < 1 || poll > 50) {
    throw invalid('poll_timeout_seconds is a whole number from 1 to 50');
  }
  if (streaming !== 'edit' && streaming !== 'draft') {
    throw invalid('streaming is "edit" or "draft"');
  }
  return {
    botToken: token,
    apiRoot: root.replace(/\/+$/, ''),
    pollTimeoutSeconds: poll,
    streaming,
  };
}

/** Takes the token out of what others will read. */
export function withoutToken(text: string, botToken: string): string {
  const secret = botToken.slice(botToken.indexOf(':') + 1);
  const hidden = text.replaceAll(botToken, '[bot_token]');
  return secret.length < 8 ? hidden : hidden.replaceAll(secret, '[bot_token]');
}

function invalid(message: string): GatewayFatalError {
  return new GatewayFatalError('invalid_request', `config of the Telegram gateway: ${message}`);
}

/** How many letters two words differ by. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return 4;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
