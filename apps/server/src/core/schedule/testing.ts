/** For tests: planned instants found without the library, minute by minute. */

const MINUTE_MS = 60_000;
const QUARTER_MS = 15 * MINUTE_MS;

/** How a zone's clocks went, as the platform's own calendar says. */
export class WallClock {
  /** By quarter of an hour since `from`: what to add to an instant, in ms. */
  readonly #offsets: number[] = [];
  readonly #from: number;

  constructor(zone: string, from: number, to: number) {
    this.#from = from;
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      timeZoneName: 'longOffset',
    });
    for (let at = from; at < to; at += QUARTER_MS) {
      const name = format.format(at);
      const [, sign = '+', hours = '0', minutes = '0'] = /GMT([+-])(\d\d):(\d\d)$/.exec(name) ?? [];
      const size = (Number(hours) * 60 + Number(minutes)) * MINUTE_MS;
      this.#offsets.push(sign === '-' ? -size : size);
    }
  }

  /** What the clocks show at an instant, as if it were UTC, in ms. */
  show(at: number): number {
    return at + (this.#offsets[Math.floor((at - this.#from) / QUARTER_MS)] ?? 0);
  }
}

const RANGES = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 6],
] as const;

/** Every planned instant of a cron rule (numbers, `*`, lists, ranges and steps) from `from` up to `to`. */
export function walkCron(rule: string, clock: WallClock, from: number, to: number): number[] {
  const fields = rule.split(' ').map((field, index) => membersOf(field, RANGES[index] ?? [0, 0]));
  const [minutes, hours, days, months, weekdays] = fields;
  const words = rule.split(' ');
  const isForWall = !/[*/]/.test(`${words[0] ?? ''} ${words[1] ?? ''}`);
  const isEither = words[2] !== '*' && words[4] !== '*';
  const fits = (wall: number): boolean => {
    // Most are told by this alone.
    if (!minutes?.has((wall / MINUTE_MS) % 60)) return false;
    const date = new Date(wall);
    const isDay = days?.has(date.getUTCDate()) ?? false;
    const isWeekday = weekdays?.has(date.getUTCDay()) ?? false;
    return (
      (hours?.has(date.getUTCHours()) ?? false) &&
      (months?.has(date.getUTCMonth() + 1) ?? false) &&
      (isEither ? isDay || isWeekday : isDay && isWeekday)
    );
  };
  const found: number[] = [];
  let shown = clock.show(from) - MINUTE_MS;
  for (let at = from; at < to; at += MINUTE_MS) {
    const wall = clock.show(at);
    let isDue = false;
    if (isForWall) {
      // All that the clocks show for the first time now, and what they left out just before.
      for (let each = shown + MINUTE_MS; each <= wall; each += MINUTE_MS) isDue ||= fits(each);
    } else isDue = fits(wall);
    if (isDue) found.push(at);
    shown = Math.max(shown, wall);
  }
  return found;
}

function membersOf(field: string, [least, most]: readonly [number, number]): Set<number> {
  const members = new Set<number>();
  for (const part of field.split(',')) {
    const [range = '*', step = '1'] = part.split('/');
    const [low = least, high = range === '*' ? most : low] =
      range === '*' ? [] : range.split('-').map(Number);
    for (let each = low; each <= high; each += Number(step)) members.add(each);
  }
  return members;
}
