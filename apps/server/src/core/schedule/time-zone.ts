const ZONE = /^[A-Za-z][\w+/-]{0,63}$/;
const DAY_MS = 86_400_000;
const LOCAL = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,3})?)?$/;

/** Whether a text is the IANA name of a time zone that is known here. */
export function isTimeZone(zone: string): boolean {
  if (!ZONE.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * The instant (ms) at which the clocks of a zone show a local time such as `2026-03-01T07:00`. Of a
 * time that comes twice it is the first; one that is left out when clocks go forward is as much
 * later as they go. @returns null for what is no local time.
 */
export function instantOfLocal(text: string, zone: string): number | null {
  const wall = readLocal(text);
  if (wall === null) return null;
  // Offsets before and behind any change that is near.
  const before = wall - offsetAt(wall - DAY_MS, zone);
  const behind = wall - offsetAt(wall + DAY_MS, zone);
  const fits = [before, behind].filter((at) => at + offsetAt(at, zone) === wall);
  return fits.length === 0 ? before : Math.min(...fits);
}

/** A local time as if it were UTC, in ms. */
function readLocal(text: string): number | null {
  const parts = LOCAL.exec(text);
  if (parts === null) return null;
  const [year, month, day, hour, minute, second] = parts
    .slice(1)
    .map((part) => (part === undefined ? 0 : Number(part)));
  const at = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  // What does not exist, such as February 30, becomes another day.
  return new Date(at).toISOString().slice(0, 16) === text.slice(0, 16) ? at : null;
}

/** How far a zone's clocks are ahead of UTC at an instant, in ms. */
function offsetAt(at: number, zone: string): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const part = new Map(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  const get = (type: Intl.DateTimeFormatPartTypes): number => part.get(type) ?? 0;
  const wall = Date.UTC(
    get('year'),
    get('month') - 1,
    get('day'),
    get('hour'),
    get('minute'),
    get('second'),
  );
  return wall - Math.floor(at / 1000) * 1000;
}
