import type { Command } from 'commander';
import { tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent approvals` and `duragent questions`, with what each can do. */
export function addConsent(program: Command, runWith: RunWith): void {
  const approvals = program.command('approvals').description('what agents ask to be allowed');
  approvals
    .command('list', { isDefault: true })
    .description('what waits, each with the whole of what it would do')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/consent.ts')).listApprovals(context, options),
      ),
    );
  approvals
    .command('allow <approval...>')
    .description('let it be done once')
    .option('--always', 'from now on too: adds a rule for just this to policy.local.yaml')
    .action(async (ids: string[], options: { always?: boolean }) =>
      runWith(async (context) => {
        const { decideApprovals } = await import('../commands/consent.ts');
        return decideApprovals(context, ids, options.always ? 'allow_always' : 'allow_once');
      }),
    );
  approvals
    .command('deny <approval...>')
    .description('do not let it be done')
    .action(async (ids: string[]) =>
      runWith(async (context) =>
        (await import('../commands/consent.ts')).decideApprovals(context, ids, 'deny'),
      ),
    );

  const questions = program.command('questions').description('what agents ask people');
  questions
    .command('list', { isDefault: true })
    .description('what waits for an answer')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/consent.ts')).listQuestions(context, options),
      ),
    );
  questions
    .command('answer <question> <answer...>')
    .description('answer it: a text, or the number of a choice')
    .action(async (id: string, words: string[]) =>
      runWith(async (context) =>
        (await import('../commands/consent.ts')).answerQuestion(context, id, words.join(' ')),
      ),
    );
}
