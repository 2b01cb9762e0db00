/**
 * The day and the time of an instant in a time zone: `2026-11-20`, `14:03`.
 * @param timezone IANA; null: the system's.
 */
export function localDay(at: number, timezone: string | null): { day: string; time: string } {
  return timezone === null ? systemDay(new Date(at)) : zonedDay(at, timezone);
}

/** The first format of a process loads much of ICU; a date knows the system's zone without it. */
function systemDay(date: Date): { day: string; time: string } {
  const two = (number: number): string => String(number).padStart(2, '0');
  const year = String(date.getFullYear()).padStart(4, '0');
  return {
    day: `${year}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    time: `${two(date.getHours())}:${two(date.getMinutes())}`,
  };
}

function zonedDay(at: number, timezone: string): { day: string; time: string } {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(new Date(at));
  const of = (type: string): string => parts.find((part) => part.type === type)?.value ?? '';
  return {
    day: `${of('year').padStart(4, '0')}-${of('month')}-${of('day')}`,
    time: `${of('hour')}:${of('minute')}`,
  };
}

/** The day that is so many days before another. */
export function daysBefore(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) - days * 86_400_000).toISOString().slice(0, 10);
}
