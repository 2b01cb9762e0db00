import { usageSchema } from '@duragent/protocol';
import { z } from 'zod';
import type { SettledCall } from '../../core/budget/settled-call.ts';

const count = z.int().min(0);
const shared = {
  at: z.iso.datetime(),
  session: z.string(),
  agent: z.string(),
  sender: z.string().optional(),
  model: z.string(),
  usage: usageSchema,
  usd: z.number().min(0).nullable(),
  cut: z.literal(true).optional(),
};
const lineSchema = z.union([
  z.object({ ...shared, turn: z.string(), step: count, attempt: count }),
  z.object({ ...shared, summary: count }),
]);

/** A call as a line of its day, without the LF. */
export function formatUsageLine(call: SettledCall): string {
  const { at, session, agent, sender, model, usage, usd, cut } = call;
  const which =
    'turn' in call
      ? { turn: call.turn, step: call.step, attempt: call.attempt }
      : { summary: call.summary };
  return JSON.stringify({ at, session, ...which, agent, sender, model, usage, usd, cut });
}

/** The call of a line; null: it holds none, because a crash or a hand spoiled it. */
export function parseUsageLine(line: string): SettledCall | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const read = lineSchema.safeParse(value);
  if (!read.success) return null;
  const { sender, cut, ...call } = read.data;
  return { ...call, ...(sender === undefined ? {} : { sender }), ...(cut ? { cut } : {}) };
}
