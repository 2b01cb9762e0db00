import { chatCommandSchema } from '@duragent/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { findSlashCommand, parseSlashCommand, slashCommands } from './slash-command.ts';

it.each([
  ['/help', 'help', ''],
  ['/HELP', 'help', ''],
  ['/help  me  now ', 'help', 'me  now'],
  ['/help\nme', 'help', 'me'],
  ['/help\u00a0me', 'help', 'me'],
  ['/help@my_bot', 'help', ''],
  ['/Help@My_Bot\tme', 'help', 'me'],
  ['/approve ABCD-EFGH', 'approve', 'ABCD-EFGH'],
  ['/attach session_01', 'attach', 'session_01'],
  ['/deploy now', 'deploy', 'now'],
  ['/new /reset', 'new', '/reset'],
])('%j is a command', (text, name, args) => {
  expect(parseSlashCommand(text, 'my_bot')).toEqual({ name, args });
});

it.each([
  '',
  '/',
  '//',
  '/ help',
  ' /help',
  '\n/help',
  'help',
  'what does /help do?',
  '/usr/bin/env',
  '/help, please',
  '/help-me',
  '/help@other_bot',
  '/help@my_bot_2',
  '/help@',
  '/help@@my_bot',
  '/help@my_bot@my_bot',
  '/@my_bot',
  '/hélp',
  '/ſtop',
  '/help\u200b',
  '／help',
  `/${'a'.repeat(33)}`,
])('%j is none', (text) => {
  expect(parseSlashCommand(text, 'my_bot')).toBeNull();
});

it("one that is addressed to somebody is nobody's where the bot does not know its name", () => {
  expect(parseSlashCommand('/help@my_bot')).toBeNull();
  expect(parseSlashCommand('/help')).toEqual({ name: 'help', args: '' });
});

it('platforms take the table as it is', () => {
  for (const { name, description } of slashCommands) {
    expect(chatCommandSchema.parse({ name, description })).toEqual({ name, description });
  }
  expect(slashCommands.map(({ name }) => name)).toEqual([
    'help',
    'new',
    'reset',
    'stop',
    'pause',
    'resume',
    'status',
    'sessions',
    'attach',
    'detach',
    'approve',
    'deny',
    'answer',
    'queue',
    'activation',
  ]);
});

it('those for owners say so, and no others', () => {
  const owners = slashCommands.filter(({ ownerOnly }) => ownerOnly).map(({ name }) => name);
  expect(owners).toEqual(['queue', 'activation']);
  for (const { ownerOnly, description } of slashCommands) {
    expect(description.includes('owners only')).toBe(ownerOnly);
  }
});

it('unknown ones are not found', () => {
  expect(findSlashCommand('stop')).toMatchObject({ name: 'stop', ownerOnly: false });
  for (const name of ['hold', 'STOP', 'constructor', '']) {
    expect(findSlashCommand(name)).toBeNull();
  }
});

it('takes any text, and what it makes of it says the same again', () => {
  const pieces = fc.constantFrom('/', '@', 'help', 'my_bot', ' ', '\n', 'é', '_', '-', '1');
  const texts = fc.oneof(
    fc.string(),
    fc.array(pieces).map((some) => some.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const command = parseSlashCommand(text, 'my_bot');
      if (command === null) return;
      expect(text.startsWith('/')).toBe(true);
      expect(parseSlashCommand(`/${command.name} ${command.args}`)).toEqual(command);
    }),
  );
});
