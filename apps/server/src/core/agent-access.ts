import { queueModeSchema, type QueueMode } from '@duragent/protocol';
import { z } from 'zod';
import { section } from './schema-parts.ts';

/** What becomes of what a sender says in a group. */
export type SenderDisposition = 'allow' | 'passive' | 'silent' | 'block';

/**
 * Who may speak with an agent in chats, and what happens to what they send. People and chats are
 * named `<gateway>:<platform id>`; `<gateway>:*` is all of a gateway.
 */
export interface AgentAccess {
  /** Exact ids only. */
  owners: readonly string[];
  approvers: readonly ('owner' | 'requester')[];
  dm: {
    policy: 'open' | 'disabled' | 'allowlist' | 'pairing';
    /** Of senders. */
    allowlist: readonly string[];
  };
  groups: {
    policy: 'open' | 'disabled' | 'allowlist';
    /** Of chats. */
    allowlist: readonly string[];
    senderDefault: SenderDisposition;
    senderOverrides: Readonly<Record<string, SenderDisposition>>;
    activation: 'mention' | 'always';
    /** What the model sees of what was said without it. */
    contextBuffer: { form: 'block' | 'history' | 'off'; maxMessages: number; maxAgeMs: number };
  };
  queue: {
    /** null: by where the message came from. */
    mode: QueueMode | null;
    maxPending: number;
    overflow: 'drop_old' | 'drop_new' | 'reject';
    /** What a refused sender is told; empty: the usual words. */
    rejectMessage: string;
    debounce: { enabled: boolean; windowMs: number };
  };
}

const MAX_ID = 264;
const platformId = z
  .string()
  .max(MAX_ID)
  .regex(/^[a-z0-9][a-z0-9-]{0,62}:./, {
    error: 'expected <gateway>:<platform id>, in quotes',
    abort: true,
  })
  .refine((id) => !/^[^:]*:\s|\s$/.test(id), 'there is a space too many; remove it')
  .refine(
    (id) => !id.includes('*') || /^[^:]*:\*$/.test(id),
    'the only pattern is <gateway>:*; write whole ids',
  );
const person = platformId.refine(
  (id) => !id.endsWith(':*'),
  'an owner is one person; write the whole id',
);
const disposition = z.enum(['allow', 'passive', 'silent', 'block']);

/** `access` of an agent, as it is written. */
export const accessSchema = section({
  owners: z.array(person).default([]),
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
      max_age_hours: z.number().min(0).max(8784).default(24),
    }),
  }),
  queue: section({
    mode: queueModeSchema.nullable().default(null),
    max_pending: z.int().min(1).max(10_000).default(10),
    overflow: z.enum(['drop_old', 'drop_new', 'reject']).default('drop_old'),
    reject_message: z.string().max(2000).default(''),
    debounce: section({
      enabled: z.boolean().default(true),
      window_ms: z.int().min(0).max(60_000).default(1500),
    }),
  }),
});

/** Who may speak with an agent, from what its checked file says. */
export function accessOf(written: z.infer<typeof accessSchema>): AgentAccess {
  const { owners, approvers, dm, groups, queue } = written;
  return {
    owners,
    approvers,
    dm,
    groups: {
      policy: groups.policy,
      allowlist: groups.allowlist,
      senderDefault: groups.sender_default,
      senderOverrides: groups.sender_overrides,
      activation: groups.activation,
      contextBuffer: {
        form: groups.context_buffer.form,
        maxMessages: groups.context_buffer.max_messages,
        maxAgeMs: groups.context_buffer.max_age_hours * 3_600_000,
      },
    },
    queue: {
      mode: queue.mode,
      maxPending: queue.max_pending,
      overflow: queue.overflow,
      rejectMessage: queue.reject_message,
      debounce: { enabled: queue.debounce.enabled, windowMs: queue.debounce.window_ms },
    },
  };
}

/** The access of an agent whose file says nothing of it. */
export const defaultAccess: AgentAccess = accessOf(accessSchema.parse({}, { jitless: true }));
