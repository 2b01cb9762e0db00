import { queueModeSchema } from '@duragent/protocol';
import { z } from 'zod';
import { section } from './schema-parts.ts';

const platformId = z
  .string()
  .max(200)
  .regex(/^[a-z0-9][a-z0-9-]{0,62}:./, 'expected <gateway>:<platform id>, in quotes');
const disposition = z.enum(['allow', 'passive', 'silent', 'block']);

/** Queue modes of the specification that this version does not know yet. */
const LATER_MODES: readonly unknown[] = ['batch', 'interrupt', 'drop'];
const queueMode = z.preprocess((mode, context) => {
  if (!LATER_MODES.includes(mode)) return mode;
  const message = `this version knows steer and sequential; "${String(mode)}" comes later`;
  context.addIssue({ code: 'custom', message, input: mode });
  return z.NEVER;
}, queueModeSchema.nullable().default(null));

/** `access` of an agent: who may speak with it in chats, and what happens to what they send. */
export const accessSchema = section({
  owners: z.array(platformId).default([]),
  approvers: z.array(z.enum(['owner', 'requester'])).default(['owner']),
  dm: section({
    policy: z.enum(['open', 'disabled', 'allowlist', 'pairing']).default('pairing'),
    allowlist: z.array(platformId).default([]),
  }),
  groups: section({
    policy: z.enum(['open', 'disabled', 'allowlist']).default('allowlist'),
    allowlist: z.array(platformId).default([]),
    sender_default: disposition.default('allow'),
    sender_overrides: z.record(platformId, disposition).default({}),
    activation: z.enum(['mention', 'always']).default('mention'),
    context_buffer: section({
      form: z.enum(['block', 'history', 'off']).default('block'),
      max_messages: z.int().min(1).max(10_000).default(100),
      max_age_hours: z.number().min(0).default(24),
    }),
  }),
  queue: section({
    mode: queueMode.default(null),
    max_pending: z.int().min(1).max(10_000).default(10),
    overflow: z.enum(['drop_old', 'drop_new', 'reject']).default('drop_old'),
    reject_message: z.string().default(''),
    debounce: section({
      enabled: z.boolean().default(true),
      window_ms: z.int().min(0).max(60_000).default(1500),
    }),
  }),
});
