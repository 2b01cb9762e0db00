import { Cron } from 'croner';

/** What a cron rule may be written with; a moment in time, which the library takes too, has others. */
const RULE = /^(?:@[a-z]{4,8}|[\dA-Za-z*,/?#+LW-]+(?: +[\dA-Za-z*,/?#+LW-]+){4})$/;

/** Reading a rule takes as long as a question to it. */
const known = new Map<string, CronTimes | { fault: string }>();
const MOST_KNOWN = 1000;
const MOST_ANSWERS = 8;

/** When a cron rule is due. */
export interface CronTimes {
  /** The first instant (ms) after this one; null: there is none any more. */
  after(ms: number): number | null;
  /** The newest at or before an instant, at most so many, oldest first. */
  upTo(ms: number, count: number): number[];
}

/**
 * The instants of a cron rule of five fields, by the clock of a zone.
 *
 * A rule whose minutes and hours are written out (`30 2 * * *`, lists and ranges too) is meant for
 * the clock on the wall: a time that is left out when clocks go forward is due at the end of the
 * gap (several of them together, once), and one that comes twice is due the first time only. A rule
 * with `*` or a step in minutes or hours is meant for time as it passes: it skips what is left out,
 * and goes on through an hour that is repeated.
 * @returns the instants, or what is wrong with the rule.
 */
export function readCron(rule: string, zone: string): CronTimes | { fault: string } {
  const name = `${zone} ${rule}`;
  const times = known.get(name) ?? parse(rule, zone);
  // The oldest goes: what is made anew is the same.
  if (known.size >= MOST_KNOWN) known.delete(known.keys().next().value ?? name);
  known.set(name, times);
  return times;
}

function parse(rule: string, zone: string): CronTimes | { fault: string } {
  if (rule.length > 200 || !RULE.test(rule)) {
    return {
      fault:
        'expected five fields: minute, hour, day of the month, month, day of the week, such as "30 7 * * 1-5"; seconds are not taken',
    };
  }
  let cron: Cron;
  try {
    cron = new Cron(rule, {
      timezone: zone,
      paused: true,
      mode: '5-part',
      fixedTimeRule: 'no-wildcard',
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { fault: `this is no cron rule: ${reason.replace(/^CronPattern: /, '')}` };
  }
  return {
    after: remembering((ms) => cron.nextRun(new Date(ms))?.getTime() ?? null),
    upTo: (ms, count) =>
      cron
        .previousRuns(count, new Date(ms + 1))
        .map((date) => date.getTime())
        .sort((a, b) => a - b),
  };
}

/** The same is asked a few times in a row, and each answer takes some 0.1 ms. */
function remembering(find: (ms: number) => number | null): (ms: number) => number | null {
  const answers = new Map<number, number | null>();
  return (ms) => {
    const answer = answers.get(ms);
    if (answer !== undefined) return answer;
    const found = find(ms);
    if (answers.size >= MOST_ANSWERS) answers.clear();
    answers.set(ms, found);
    return found;
  };
}
