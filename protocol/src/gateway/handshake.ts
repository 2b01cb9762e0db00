import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import { namePattern } from '../names.ts';

/** The protocol's version as it is announced. `v1alpha1` is the same without acks, previews, `configure` and `find`. */
export const GATEWAY_PROTOCOL = 'v1';
export const gatewayProtocols = ['v1', 'v1alpha1'] as const;

/** What a gateway can do beside sending text. */
export const gatewayCapabilitySchema = z.enum([
  /** It waits for `ack` before it confirms an update to its platform. */
  'ack',
  /** It shows replies while they are written. */
  'preview',
  'edit',
  'delete',
  'typing',
  'reply',
  'inline_keyboard',
  'media',
  'threads',
  /** A repeated nonce returns the first message. */
  'nonce',
  'find',
]);
export type GatewayCapability = z.infer<typeof gatewayCapabilitySchema>;

export const lengthUnitSchema = z.enum(['utf16', 'chars', 'bytes']);
/** What a length counts: UTF-16 units, Unicode code points, or bytes of UTF-8. */
export type LengthUnit = z.infer<typeof lengthUnitSchema>;

export const gatewayLimitsSchema = z.looseObject({
  /** The longest text of one message in its last fallback form, in `length_unit`. */
  max_length: z.int().min(64).max(1_000_000),
  length_unit: lengthUnitSchema,
  /** Buttons that one message may carry; 0: none. */
  max_buttons: z.int().min(0).max(1000).default(0),
  /** The largest file it sends, in bytes; 0: none. */
  media_max_bytes: z.int().min(0).default(0),
});
export type GatewayLimits = InferKnown<typeof gatewayLimitsSchema>;

/** What a gateway counts with before its first `ready`. */
export const DEFAULT_LIMITS: GatewayLimits = {
  max_length: 2000,
  length_unit: 'chars',
  max_buttons: 0,
  media_max_bytes: 0,
};

/** A slash command as platforms list it. */
export const chatCommandSchema = z.looseObject({
  /** Without the slash; `[a-z0-9_]`, 1 to 32. */
  name: z.string().regex(/^[a-z0-9_]{1,32}$/),
  description: z.string().min(1).max(256),
});
export type ChatCommand = InferKnown<typeof chatCommandSchema>;

/** Server → gateway, the first line. Answered by `ready`. */
export const configureSchema = z.looseObject({
  type: z.literal('configure'),
  protocol: z.literal(GATEWAY_PROTOCOL),
  /** The gateway's name in duragent.yaml. */
  name: z.string().regex(namePattern),
  /** The account whose chats these are; it has the gateway's name. */
  account: z.string().min(1),
  /** The gateway's own map from duragent.yaml, with secrets filled in. */
  config: z.record(z.string(), z.unknown()),
  /** Whatever the gateway gave as its cursor last; null at first. */
  cursor: z.unknown(),
  /** The newest limits it announced, or the defaults. */
  limits: gatewayLimitsSchema,
  /** An existing folder where it puts files that people sent; the server takes them from there. */
  media_dir: z.string().min(1),
  /** How replies are shown while they are written: by edits of a message, or as drafts where the platform has them. */
  streaming: z.enum(['edit', 'draft']).default('edit'),
  /** The slash commands to register with the platform, when they changed. */
  commands: z.array(chatCommandSchema).default([]),
});

/** Gateway → server: it is connected and takes commands. */
export const readySchema = z.looseObject({
  type: z.literal('ready'),
  /** What it is, such as `telegram`. */
  gateway: z.string().min(1).max(100),
  /** Its own version. */
  version: z.string().max(100).default(''),
  protocol: z.string().min(1).max(40),
  /** Those that are not known are ignored. */
  capabilities: z.array(z.string().max(100)).max(100).default([]),
  limits: gatewayLimitsSchema.optional(),
  /** Who it is on the platform. */
  identity: z
    .looseObject({ id: z.string().max(200), username: z.string().max(200).optional() })
    .optional(),
});
export type GatewayReady = InferKnown<typeof readySchema>;

/** Gateway → server: a person has to do something first, such as opening a link. */
export const authRequiredSchema = z.looseObject({
  type: z.literal('auth_required'),
  message: z.string().max(2000).default(''),
  url: z.string().max(2000).optional(),
});

/** Gateway → server: it was done. */
export const authSuccessSchema = z.looseObject({ type: z.literal('auth_success') });
