import { z } from 'zod';

/** A map whose unknown keys are faults; left out or left empty, it is all its defaults. */
export function section<T extends z.ZodRawShape>(shape: T) {
  return z.preprocess((value) => value ?? {}, z.strictObject(shape)).prefault({});
}

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const DURATION = 'expected a duration such as 30s, 15m, 2h or 7d';
/** A duration as people write it (`30s`, `15m`, `2h`, `7d`; at most 9 digits), read as milliseconds. */
export const durationSchema = z
  .string(DURATION)
  .regex(/^\d{1,9}[smhd]$/, DURATION)
  .transform((text) => Number(text.slice(0, -1)) * UNIT_MS[text.at(-1) as keyof typeof UNIT_MS]);

const dollars = z.number().min(0).nullable().default(null);

/** What a session, a day and a sender's day may cost, in US dollars; null: no limit. */
export const budgetSchema = section({
  session_usd: dollars,
  day_usd: dollars,
  sender_day_usd: dollars,
});
