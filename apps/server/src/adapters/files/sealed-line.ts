import { crc32 } from 'node:zlib';
import { MAX_RECORD_BYTES } from '@duragent/protocol';

/** Length of `,"crc":"xxxxxxxx"}`. */
const TAIL_LENGTH = 18;

/** Writes a CRC as files hold it: 8 lower-case hex digits. */
export function formatCrc(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}

/** The CRC that a sealed line ends with. */
export function crcOfLine(line: string): number {
  return Number.parseInt(line.slice(-10, -2), 16);
}

/** Closes an object's text (without its last brace) with the CRC of its bytes, as one line without LF. */
export function sealLine(body: string, previous: number): { line: string; crc: number } {
  const { tail, crc } = sealOf(body, previous);
  return { line: `${body}${tail}`, crc };
}

/** What `sealLine` closes a body with, which may be text or its bytes. */
export function sealOf(body: string | Uint8Array, previous: number): { tail: string; crc: number } {
  const crc = crc32(body, previous);
  return { tail: `,"crc":"${formatCrc(crc)}"}`, crc };
}

export type SealCheck =
  | { ok: true; /** What `sealLine` was given. */ body: Buffer; crc: number }
  | { ok: false; reason: string };

/** Checks that a line (without LF; null: longer than a record may be) continues `previous`. */
export function checkSeal(bytes: Buffer | null, previous: number): SealCheck {
  if (bytes === null)
    return { ok: false, reason: `a line is longer than ${MAX_RECORD_BYTES} bytes` };
  const bodyLength = Math.max(bytes.length - TAIL_LENGTH, 0);
  const body = bytes.subarray(0, bodyLength);
  const found = bytes.toString('latin1', bodyLength);
  const { tail, crc } = sealOf(body, previous);
  if (found === tail) return { ok: true, body, crc };
  const other = /^,"crc":"([0-9a-f]{8})"\}$/.exec(found)?.[1];
  if (other === undefined) return { ok: false, reason: 'the line does not end with its CRC' };
  return { ok: false, reason: `the CRC is ${other}, computed ${formatCrc(crc)}` };
}

/** As `checkSeal`, and reads what the line holds; its `crc` is among that. */
export function checkLine(
  bytes: Buffer | null,
  previous: number,
):
  | { ok: true; value: Record<string, unknown>; line: string; crc: number }
  | { ok: false; reason: string } {
  const checked = checkSeal(bytes, previous);
  if (!checked.ok) return checked;
  const line = bytes?.toString('utf8') ?? '';
  const value = parseObject(line);
  return value === null
    ? { ok: false, reason: 'the line is not JSON' }
    : { ok: true, value, line, crc: checked.crc };
}

/** The JSON object that a text is; null for anything else. */
export function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
