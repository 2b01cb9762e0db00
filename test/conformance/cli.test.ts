import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { exitCodes } from '../../apps/cli/src/exit-codes.ts';
import { runProgram, type Surroundings } from '../../apps/cli/src/program.ts';
import { codeWords, readTables, type TableRow } from '../support/markdown.ts';

const file = path.join(import.meta.dirname, '../../docs/cli.md');
const tables = readTables(readFileSync(file, 'utf8'));

describe('docs/cli.md', () => {
  test('has every command, and no other', async () => {
    const commands = await commandsOf([]);
    const groups = [
      'session',
      'agent',
      'gateway',
      'schedules',
      'approvals',
      'questions',
      'outbox',
      'access',
      'memory',
    ];
    const below = await Promise.all(
      [...groups, 'serve'].map(async (parent) =>
        (await commandsOf([parent])).map((command) => `${parent} ${command}`),
      ),
    );
    const all = [...commands.filter((command) => !groups.includes(command)), ...below.flat()];
    expect(all.length).toBeGreaterThan(10);
    const documented = tableOf('The command duragent').map((row) => codeWords(row['command'])[0]);
    expect(new Set(documented)).toEqual(new Set(all));
  });

  test('has every option of serve, and no other', async () => {
    const help = await helpOf(['serve']);
    const options = [...help.matchAll(/^ {2}(--[a-z-]+)/gm)].map((match) => match[1]);
    const documented = tableOf('serve')
      .flatMap((row) => codeWords(row['option']))
      .map((option) => option.split(' ')[0]);
    expect(new Set(documented)).toEqual(new Set(options));
  });

  test('has every error under the code that the command ends with', () => {
    const documented = tableOf('Exit codes').flatMap((row) =>
      codeWords(row['of errors']).map((error) => [error, Number(row['code'])]),
    );
    expect(Object.fromEntries(documented)).toEqual(exitCodes);
  });
});

function tableOf(heading: string): TableRow[] {
  const table = tables.get(heading);
  if (table === undefined) throw new Error(`docs/cli.md has no table under "${heading}"`);
  return table;
}

/** The commands that the help of one lists, as `name <arguments>`. */
async function commandsOf(words: string[]): Promise<string[]> {
  const help = await helpOf(words);
  const list = help.slice(help.indexOf('\nCommands:\n') + 11).split('\n\n')[0] ?? '';
  return [...list.matchAll(/^ {2}(\S.*?)(?: {2,}|$)/gm)]
    .map((match) => (match[1] ?? '').replace(/ ?\[(options|command)\] ?/g, ' ').trim())
    .filter((command) => !command.startsWith('help'));
}

async function helpOf(words: string[]): Promise<string> {
  let text = '';
  const stdout = new Writable({
    write: (chunk: Buffer, _, done) => {
      text += chunk.toString();
      done();
    },
  });
  const surroundings = { env: {}, cwd: '.', stdin: null, stdout, stderr: stdout };
  const options = { version: '0.0.0', onGlobals: () => undefined };
  await runProgram([...words, '--help'], surroundings as unknown as Surroundings, options);
  return text;
}
