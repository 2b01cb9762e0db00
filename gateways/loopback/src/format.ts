import {
  DuragentError,
  gatewayCapabilitySchema,
  lengthUnitSchema,
  type Button,
  type GatewayCapability,
  type LengthUnit,
  type TextFormat,
} from '@duragent/protocol';

/** What the gateway is told in duragent.yaml; README.md says what each key does. */
export interface LoopbackConfig {
  port: number;
  token: string | null;
  urlFile: string | null;
  stateFile: string | null;
  webhookUrl: string | null;
  webhookToken: string | null;
  delayMs: number;
  ackTimeoutMs: number;
  maxLength: number;
  lengthUnit: LengthUnit;
  maxButtons: number;
  mediaMaxBytes: number;
  capabilities: ReadonlySet<GatewayCapability>;
}

/** A message of the bot, as HTTP shows it. */
export interface Post {
  /** The place of its newest change among all changes: 1, 2, 3 … */
  change: number;
  message_id: string;
  chat_id: string;
  thread_id?: string;
  /** The newest text; empty once it was deleted. */
  text: string;
  format: TextFormat;
  buttons: Button[][];
  files: PostedFile[];
  reply_to?: string;
  part: number;
  parts: number;
  /** It shows a reply that is still being written. */
  preview: boolean;
  deleted: boolean;
  /** How often its text was changed. */
  edit_count: number;
  /** The newest of its former texts, oldest first. */
  edits: { text: string; at: string }[];
  posted_at: string;
  changed_at: string;
  nonce?: string;
  preview_id?: string;
}

export interface PostedFile {
  name: string;
  mime: string;
  /** Bytes; null for a `url`, which is not fetched. */
  size: number | null;
  sha256: string | null;
  path?: string;
  url?: string;
}

/** How long a text is in a unit. */
export function textLength(text: string, unit: LengthUnit): number {
  if (unit === 'utf16') return text.length;
  if (unit === 'bytes') return Buffer.byteLength(text);
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/**
 * Reads the gateway's map from duragent.yaml.
 * @throws DuragentError config_invalid, naming the key and what it takes.
 */
export function readConfig(config: Readonly<Record<string, unknown>>): LoopbackConfig {
  const known = new Set<string>([...keys, ...gatewayCapabilitySchema.options]);
  const unknown = Object.keys(config).find((key) => !known.has(key));
  if (unknown !== undefined) {
    throw invalid(unknown, `is no key of this gateway; it knows ${[...known].sort().join(', ')}`);
  }
  const unit = lengthUnitSchema.safeParse(config['length_unit'] ?? 'chars');
  if (!unit.success) throw invalid('length_unit', 'takes utf16, chars or bytes');
  const webhookUrl = readText(config, 'webhook_url');
  if (webhookUrl !== null && !isHttpUrl(webhookUrl)) {
    throw invalid('webhook_url', 'takes an http or https URL');
  }
  return {
    port: readNumber(config, 'port', 0, 0, 65_535),
    token: readText(config, 'token'),
    urlFile: readText(config, 'url_file'),
    stateFile: readText(config, 'state_file'),
    webhookUrl,
    webhookToken: readText(config, 'webhook_token'),
    delayMs: readNumber(config, 'delay_ms', 0, 0, 600_000),
    ackTimeoutMs: readNumber(config, 'ack_timeout_ms', 30_000, 1, 600_000),
    maxLength: readNumber(config, 'max_length', 4096, 64, 1_000_000),
    lengthUnit: unit.data,
    maxButtons: readNumber(config, 'max_buttons', 100, 0, 1000),
    mediaMaxBytes: readNumber(config, 'media_max_bytes', 10 * 1024 * 1024, 0, 1024 ** 3),
    capabilities: new Set(gatewayCapabilitySchema.options.filter((key) => readSwitch(config, key))),
  };
}

/** The keys of the configuration that are no capabilities. */
const keys = [
  'port',
  'token',
  'url_file',
  'state_file',
  'webhook_url',
  'webhook_token',
  'delay_ms',
  'ack_timeout_ms',
  'max_length',
  'length_unit',
  'max_buttons',
  'media_max_bytes',
] as const;
type Key = (typeof keys)[number];

function readNumber(
  config: Readonly<Record<string, unknown>>,
  key: Key,
  otherwise: number,
  least: number,
  most: number,
): number {
  const value = config[key] ?? otherwise;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(key, `takes a whole number from ${least} to ${most}`);
  }
  return value;
}

function readText(config: Readonly<Record<string, unknown>>, key: Key): string | null {
  const value = config[key] ?? null;
  if (value === null || (typeof value === 'string' && value !== '')) return value;
  throw invalid(key, 'takes a text that is not empty; leave it out to do without');
}

function readSwitch(config: Readonly<Record<string, unknown>>, key: GatewayCapability): boolean {
  const value = config[key] ?? true;
  if (typeof value === 'boolean') return value;
  throw invalid(key, 'takes true or false');
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function invalid(key: string, what: string): DuragentError {
  return new DuragentError('config_invalid', `config.${key} ${what}.`);
}
