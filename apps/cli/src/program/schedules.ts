import { type Command, Option } from 'commander';
import type { AddOptions } from '../commands/schedules.ts';
import { readCount, tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent schedules`, with what it can do. */
export function addSchedules(program: Command, runWith: RunWith): void {
  const load = () => import('../commands/schedules.ts');
  const schedules = program.command('schedules').description('what agents do later, and what ran');
  schedules
    .command('list')
    .description('all of them, and why others do not run')
    .option('--agent <name>', 'only those of this agent')
    .addOption(tableOrJson())
    .action(async (options: { agent?: string; output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).listSchedules(context, options)),
    );
  schedules
    .command('show <schedule>')
    .description('one of them, and what it ran: its id, the beginning of it, or its name')
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).showSchedule(context, wanted, options)),
    );
  schedules
    .command('add')
    .description('make one')
    .option('--agent <name>', 'of this agent')
    .option('--at <time>', 'once: 2026-03-01T07:00')
    .option('--every <duration>', 'again and again: 10s, 15m, 2h, 7d')
    .option('--cron <rule>', 'minute hour day-of-month month day-of-week: "30 7 * * 1-5"')
    .option('--zone <zone>', "the time zone of --cron; default: the server's")
    .option('--task <text>', 'what the agent does then')
    .option('--message <text>', 'what is sent then, as it is')
    .option('--session <session>', 'in this session')
    .option('--key <key>', 'in the session that holds this key')
    .option('--deliver <chat...>', 'to these chats: <gateway>:<chat>[:<thread>]')
    .addOption(
      new Option('--misfire <rule>', 'what becomes of missed runs (run_once)').choices([
        'run_once',
        'skip',
        'run_all',
      ]),
    )
    .option('--process <process>', 'it ends with this background process (proc_…)')
    .option('--name <name>', 'what you call it')
    .addOption(tableOrJson())
    .action(async (options: AddOptions) =>
      runWith(async (context) => (await load()).addSchedule(context, options)),
    );
  schedules
    .command('remove <schedule...>')
    .description('end them, with what is known of their runs')
    .action(async (wanted: string[]) =>
      runWith(async (context) => (await load()).removeSchedules(context, wanted)),
    );
  schedules
    .command('run <schedule>')
    .description('run it now, beside what is planned')
    .action(async (wanted: string) =>
      runWith(async (context) => (await load()).runSchedule(context, wanted)),
    );
  schedules
    .command('runs <schedule>')
    .description('what ran, newest first')
    .option('--limit <count>', 'only so many (100)', (text) => readCount(text, 1000))
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { limit?: number; output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).scheduleRuns(context, wanted, options)),
    );
}
