import { scheduleRunSchema } from '@duragent/protocol';
import { z } from 'zod';
import type { RunLogState, RunRecord } from '../../ports/schedule-store.ts';
import { checkLine, parseObject, sealLine } from '../files/sealed-line.ts';

/** The newest form of run log that this version reads and the one it writes. */
const RUNS_VERSION = 1;

const instant = z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'no instant');
const error = z.object({ code: z.string(), message: z.string() });
const times = { at: instant, planned: instant };

const recordSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('begun'), at: instant, rule: z.string(), settled: instant }),
  z.object({
    type: z.literal('started'),
    ...times,
    skipped: z.int().min(0),
    manual: z.literal(true).optional(),
    key: z.string().optional(),
  }),
  z.object({ type: z.literal('failed'), ...times, error }),
  z.object({
    type: z.literal('finished'),
    ...times,
    outcome: z.enum(['ok', 'failed', 'dropped']),
    session: z.string().optional(),
    turn: z.string().optional(),
    error: error.optional(),
  }),
  z.object({ type: z.literal('skipped'), ...times, count: z.int().min(0) }),
]);

const baseSchema = z.object({
  settled: z.number().nullable(),
  rule: z.string().nullable(),
  open: z.array(
    z.object({
      planned: instant,
      startedAt: instant,
      skipped: z.int().min(0),
      manual: z.boolean(),
      failures: z.int().min(0),
      error: error.nullable(),
    }),
  ),
  last: scheduleRunSchema.nullable(),
});

export interface Sealed {
  line: string;
  crc: number;
}

/** The first line of a run log; `base` is what was said before its first record. */
export function encodeHeader(id: string, base: RunLogState): Sealed {
  const body = JSON.stringify({ duragent_runs: RUNS_VERSION, schedule: id, base });
  return sealLine(body.slice(0, -1), 0);
}

export function encodeRecord(record: RunRecord, previous: number): Sealed {
  return sealLine(JSON.stringify(record).slice(0, -1), previous);
}

export type HeaderCheck =
  | { kind: 'good'; base: RunLogState; crc: number }
  /** Written by a version that this one does not read. */
  | { kind: 'newer'; version: number }
  | { kind: 'damaged'; reason: string };

/** Reads the first line of a run log. */
export function decodeHeader(bytes: Buffer | null, id: string): HeaderCheck {
  const parsed = bytes === null ? null : parseObject(bytes.toString('utf8'));
  const version = parsed?.['duragent_runs'];
  // Before its CRC: how a newer version computes that is not known here.
  if (typeof version === 'number' && version > RUNS_VERSION) return { kind: 'newer', version };
  const checked = checkLine(bytes, 0);
  if (!checked.ok) return { kind: 'damaged', reason: `the header is damaged: ${checked.reason}` };
  const { value, crc } = checked;
  const base = baseSchema.safeParse(value['base']);
  if (value['duragent_runs'] !== RUNS_VERSION || !base.success) {
    return { kind: 'damaged', reason: 'the first line is not a header' };
  }
  if (value['schedule'] === id) return { kind: 'good', base: base.data, crc };
  return { kind: 'damaged', reason: `it is the log of ${JSON.stringify(value['schedule'])}` };
}

/** Reads one complete line that must continue `previous`. */
export function decodeRecord(
  bytes: Buffer | null,
  previous: number,
): { ok: true; record: RunRecord; crc: number } | { ok: false; reason: string } {
  const checked = checkLine(bytes, previous);
  if (!checked.ok) return checked;
  const record = recordSchema.safeParse(checked.value);
  if (record.success) return { ok: true, record: record.data, crc: checked.crc };
  return { ok: false, reason: 'the line is no record of a run log' };
}

/** Whether a line behind a damaged one is a whole record, so that more than the end is damaged. */
export function isRecord(bytes: Buffer | null): boolean {
  const value = bytes === null ? null : parseObject(bytes.toString('utf8'));
  return (
    value !== null && typeof value['crc'] === 'string' && recordSchema.safeParse(value).success
  );
}
