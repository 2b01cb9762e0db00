import { z } from 'zod';
import { requestIdSchema } from './shared.ts';

/** Server → gateway, every 15 s. Answered by `pong`. */
export const pingSchema = z.looseObject({ type: z.literal('ping'), request_id: requestIdSchema });

/** Gateway → server. */
export const pongSchema = z.looseObject({
  type: z.literal('pong'),
  request_id: requestIdSchema.optional(),
  uptime_seconds: z.number().min(0).default(0),
  /** Whether it reaches its platform. */
  connected: z.boolean().default(true),
});

/** Server → gateway: finish within `deadline_ms`, say `shutdown`, and exit. The end of stdin means the same. */
export const shutdownCommandSchema = z.looseObject({
  type: z.literal('shutdown'),
  deadline_ms: z.int().min(0),
});

/** Gateway → server: it ends. */
export const shutdownEventSchema = z.looseObject({
  type: z.literal('shutdown'),
  reason: z.string().max(2000).default(''),
});

/** Gateway → server: something is wrong. `fatal`: starting it again would not help (`unauthorized`, `conflict`). */
export const gatewayErrorSchema = z.looseObject({
  type: z.literal('error'),
  code: z.string().min(1).max(100),
  message: z.string().max(4000).default(''),
  fatal: z.boolean().default(false),
});
