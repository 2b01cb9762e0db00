/** A command that the server itself answers, in every chat. */
export interface SlashCommand {
  name: string;
  /** What it takes, as the help shows it; null: nothing. */
  argument: string | null;
  /** As platforms list it. */
  description: string;
  ownerOnly: boolean;
}

/** The commands, in the order in which they are shown. All others go to the agent. */
export const slashCommands = [
  {
    name: 'help',
    argument: null,
    description: 'Show what can be typed here',
    ownerOnly: false,
  },
  {
    name: 'new',
    argument: null,
    description: 'Begin a fresh session; the old one stays',
    ownerOnly: false,
  },
  {
    name: 'reset',
    argument: null,
    description: 'End this session and begin a fresh one',
    ownerOnly: false,
  },
  {
    name: 'stop',
    argument: null,
    description: 'Stop what the agent is doing',
    ownerOnly: false,
  },
  {
    name: 'pause',
    argument: null,
    description: 'Hold this session: messages wait until /resume',
    ownerOnly: false,
  },
  {
    name: 'resume',
    argument: null,
    description: 'Let this session go on',
    ownerOnly: false,
  },
  {
    name: 'status',
    argument: null,
    description: 'Show this session and what it is doing',
    ownerOnly: false,
  },
  {
    name: 'sessions',
    argument: null,
    description: 'List the sessions',
    ownerOnly: false,
  },
  {
    name: 'attach',
    argument: '<session>',
    description: 'Show and drive another session in this chat',
    ownerOnly: false,
  },
  {
    name: 'detach',
    argument: null,
    description: "Go back to this chat's own session",
    ownerOnly: false,
  },
  {
    name: 'approve',
    argument: '<code>|<approval> [always]',
    description: 'Let in whoever has this code, or allow what the agent asks to do',
    ownerOnly: false,
  },
  {
    name: 'deny',
    argument: '<approval>',
    description: 'Deny what the agent asks to do',
    ownerOnly: false,
  },
  {
    name: 'answer',
    argument: '<question> <answer>',
    description: 'Answer what the agent asks',
    ownerOnly: false,
  },
  {
    name: 'queue',
    argument: '[steer|batch|sequential|interrupt|drop]',
    description: 'Show or set what happens to messages while the agent works (owners only)',
    ownerOnly: true,
  },
  {
    name: 'activation',
    argument: '[mention|always]',
    description: 'Show or set when the agent answers in this group (owners only)',
    ownerOnly: true,
  },
] as const satisfies readonly SlashCommand[];

export type SlashCommandName = (typeof slashCommands)[number]['name'];

/** The command of this name; null: the server has none. */
export function findSlashCommand(name: string): (typeof slashCommands)[number] | null {
  return slashCommands.find((command) => command.name === name) ?? null;
}

/**
 * What was typed, if it begins with a slash and a name: `/help@my_bot args`. The name is in lower
 * case, of a known command or not. One that is addressed to somebody else than `botUsername`
 * (without `@`, in any case) is none.
 */
export function parseSlashCommand(
  text: string,
  botUsername?: string,
): { name: string; args: string } | null {
  const match = /^\/(\w{1,32})(?:@(\w{1,64}))?(?:\s|$)/.exec(text);
  if (match === null) return null;
  const [head, name = '', addressee] = match;
  const isOurs = addressee?.toLowerCase() === botUsername?.toLowerCase();
  if (addressee !== undefined && !isOurs) return null;
  return { name: name.toLowerCase(), args: text.slice(head.length).trim() };
}
