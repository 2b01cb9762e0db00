import { isIP } from 'node:net';
import { agentNameSchema, namePattern, onDisconnectSchema } from '@duragent/protocol';
import { z } from 'zod';
import { priceTableSchema } from '../core/budget/prices.ts';
import { urlFault } from '../core/net/public-url.ts';
import { budgetSchema, durationSchema, section } from '../core/schema-parts.ts';
import { isWebhookSecret } from '../core/webhooks/secret.ts';
import type { Rename } from './yaml-renames.ts';

/** A path as it is written: relative ones start at the file's folder. */
export const pathSchema = z.string().min(1, 'the path is empty');
const whole = (least: number, most: number) => z.int().min(least).max(most);
const seconds = whole(1, 86_400);
const name = z.string().regex(namePattern, 'a name is 1 to 63 of a-z, 0-9 and "-"');

const PORT = 'expected a port from 0 to 65535';
/** A port to listen on; 0 is any free one. */
export const portSchema = z.int(PORT).min(0, PORT).max(65_535, PORT);

/** A token people choose. */
export const tokenSchema = z.string().min(16, 'a token has at least 16 characters');

/** An address to listen on: a host's name or an IP address, without brackets. */
export const hostSchema = z
  .string()
  .regex(/^[A-Za-z0-9:._%-]{1,253}$/, 'expected a host name or an IP address');

/** A name that the server is called by, as a URL can hold it. */
const namedHostSchema = hostSchema.refine(
  (host) => URL.canParse(`http://${isIP(host) === 6 ? `[${host}]` : host}`),
  'expected a host name or an IP address',
);

/** An IANA time zone. */
const timezoneSchema = z
  .string()
  .refine(isTimezone, 'expected an IANA time zone, such as Europe/Berlin or UTC');

const publicUrlSchema = z
  .string()
  .refine(isPublicUrl, 'expected an http(s) URL without user, query and fragment');

const proxySchema = z
  .string()
  .refine(isAddressRange, 'expected an IP address or a range, such as 10.0.0.0/8');

/** Text that a program can be started with. */
const argument = z.string().refine((text) => !text.includes('\0'), {
  error: 'a null character cannot be passed to a program; remove it',
});
const environmentSchema = z.record(
  z.string().regex(/^[A-Za-z_]\w*$/, 'a variable is named by letters, digits and "_"'),
  z.union([argument, z.number(), z.boolean()], 'expected text'),
);

const gatewaySchema = z.strictObject({
  name,
  command: argument.min(1, 'the command is empty'),
  args: z.array(argument).max(100).default([]),
  env: environmentSchema.default({}),
  config: z.record(z.string(), z.unknown()).default({}),
  restart: z.enum(['always', 'on_failure', 'never']).default('on_failure'),
});

const routedId = z.string().min(1, 'an empty id matches nothing');
const routeSchema = z.strictObject({
  match: z.strictObject({
    gateway: name.optional(),
    chat_type: z.enum(['dm', 'group', 'channel']).optional(),
    chat_id: routedId.optional(),
    sender_id: routedId.optional(),
    thread_id: routedId.optional(),
  }),
  agent: agentNameSchema,
});

const endpointSchema = z.strictObject({
  name,
  agent: agentNameSchema,
  session: z.string().min(1).default('isolated'),
  verify: z.enum(['github', 'slack', 'standard', 'token']),
  secret: tokenSchema,
  template: z.string().optional(),
  deliver: z.strictObject({ gateway: z.string(), chat: z.string() }).optional(),
});

/** Its messages repeat nothing: a URL may hold a secret, too. */
const webhookSchema = z.strictObject({
  name,
  url: z.string().superRefine((text, { addIssue }) => {
    const url = URL.parse(text);
    const fault = url ? urlFault(url) : 'This is no URL. Use one like https://example.com/hook.';
    if (fault !== null) addIssue({ code: 'custom', message: fault });
  }),
  secret: z
    .string()
    .refine(isWebhookSecret, 'expected whsec_ and 24 to 64 random bytes in base64, with padding'),
});

const backend = z
  .literal('filesystem', 'this version keeps everything in files; write "filesystem"')
  .default('filesystem');
const service = section({ backend, path: pathSchema.nullable().default(null) });

/** All of duragent.yaml: its keys, their types, and every default that is no path. */
export const configFileSchema = section({
  data_dir: pathSchema.nullable().default(null),
  default_agent: agentNameSchema.nullable().default(null),
  timezone: timezoneSchema.nullable().default(null),
  server: section({
    host: hostSchema.default('127.0.0.1'),
    port: portSchema.default(8080),
    port_strict: z.boolean().default(false),
    public_url: publicUrlSchema.nullable().default(null),
    hosts: z.array(namedHostSchema).max(100).default([]),
    trusted_proxies: z.array(proxySchema).default([]),
    api_token: tokenSchema.nullable().default(null),
    request_timeout_seconds: seconds.default(300),
    idle_timeout_seconds: seconds.default(60),
    keep_alive_interval_seconds: seconds.default(15),
    max_connections: whole(1, 1_000_000).default(1024),
  }),
  admin: section({
    enabled: z.boolean().default(true),
    token: tokenSchema.nullable().default(null),
  }),
  gateways: section({
    http: section({ enabled: z.boolean().default(true), port: portSchema.default(8080) }),
    cli: section({ enabled: z.boolean().default(true) }),
    external: z.array(gatewaySchema).max(100).default([]),
  }),
  routes: z.array(routeSchema).max(1000).default([]),
  agents: section({
    static: section({
      path: pathSchema.nullable().default(null),
      watch: z.boolean().default(true),
    }),
    dynamic: section({ path: pathSchema.nullable().default(null) }),
    lazy_load: z.boolean().default(true),
    cache_size: whole(1, 1_000_000).default(10_000),
  }),
  session: section({
    on_disconnect: onDisconnectSchema.default('continue'),
    max_background_runtime: durationSchema.prefault('30m'),
    output_buffer_size: whole(1, 1_000_000).default(1000),
    compaction: z.enum(['archive', 'disabled', 'discard']).default('archive'),
    ttl_hours: z.number().min(0).nullable().default(null),
  }),
  delivery: section({
    streaming: z.enum(['edit', 'draft']).default('edit'),
    on_uncertain: z.enum(['resend_marked', 'notify', 'never']).default('resend_marked'),
    mirror: z.boolean().default(true),
    ttl: durationSchema.prefault('24h'),
  }),
  approvals: section({ timeout: durationSchema.prefault('10m') }),
  services: section({ session: service, memory: service, artifacts: service }),
  models: section({
    prices: priceTableSchema.default({}),
    retry: section({ attempts: whole(1, 10).default(3) }),
    max_concurrent: whole(1, 10_000).default(16),
  }),
  budget: budgetSchema,
  sandbox: section({
    mode: z.enum(['auto', 'trust', 'bubblewrap']).default('auto'),
    network: z.enum(['all', 'none']).default('all'),
    workspace: pathSchema.default('.'),
  }),
  webhooks: section({
    endpoints: z.array(endpointSchema).default([]),
    outgoing: z.array(webhookSchema).max(100).default([]),
    allow_private: z.boolean().default(false),
  }),
  retention: section({
    gc: z.string().min(1).nullable().default(null),
    older_than: durationSchema.prefault('168h'),
  }),
  reload: section({
    enabled: z.boolean().default(true),
    debounce: durationSchema.prefault('2s'),
  }),
  self_improvement: section({
    enabled: z.boolean().default(true),
    protected_files: z.array(z.string().min(1)).default([]),
    require_tests: z.boolean().default(false),
    auto_rollback: z.boolean().default(true),
  }),
  logs: section({
    level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    format: z.enum(['auto', 'json', 'pretty']).default('auto'),
    file: z.boolean().default(true),
  }),
  metrics: section({ enabled: z.boolean().default(true), public: z.boolean().default(false) }),
  upgrade: section({ drain_timeout: durationSchema.prefault('15m') }),
  allow_network_fs: z.boolean().default(false),
});
export type ConfigFile = z.infer<typeof configFileSchema>;

/** Names that earlier versions had for keys. */
export const oldNames: readonly Rename[] = [
  { from: ['server', 'admin_token'], to: ['admin', 'token'] },
  { from: ['services', 'artifact'], to: ['services', 'artifacts'] },
  { from: ['sessions'], to: ['session'] },
  { from: ['agents_dir'], to: ['agents', 'static', 'path'] },
];

/** Keys (with all below them) that are checked and change nothing yet. */
export const keysWithoutEffect: readonly string[] = [
  'server.trusted_proxies',
  'agents.static.watch',
  'agents.dynamic',
  'agents.lazy_load',
  'session.compaction',
  'session.ttl_hours',
  'webhooks.endpoints',
  'retention',
  'self_improvement',
  'metrics',
  'upgrade',
];

function isTimezone(zone: string): boolean {
  if (!/^[A-Za-z][\w+/-]*$/.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch (cause) {
    if (cause instanceof RangeError) return false;
    throw cause;
  }
}

function isPublicUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}

function isAddressRange(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
  );
}
