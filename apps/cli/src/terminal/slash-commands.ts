import type { ApprovalDecision } from '@duragent/protocol';
import { sanitizeLine } from './sanitize.ts';
import type { Conversation } from './conversation.ts';
import { choiceAt } from './open-asks.ts';

interface SlashCommand {
  about: string;
  /** `args`: what was typed behind its name. */
  run(conversation: Conversation, args: string): Promise<void> | void;
}

/** What can be typed instead of a message. */
const slashCommands: Readonly<Record<string, SlashCommand>> = {
  help: { about: 'shows this', run: help },
  status: { about: 'shows the state of the session', run: status },
  history: { about: 'shows the conversation again', run: (conversation) => conversation.retell() },
  clear: { about: 'empties the screen', run: (conversation) => conversation.options.onClear?.() },
  reset: { about: 'ends this session and begins a new one', run: reset },
  approve: { about: 'allows what waits: [approval] [always]', run: approve },
  deny: { about: 'denies what waits: [approval]', run: deny },
  answer: { about: 'answers what is asked: [question] <answer>', run: answer },
  pause: { about: 'holds the session: messages wait until /resume', run: pause },
  resume: { about: 'lets it go on', run: resume },
  detach: {
    about: 'leaves; the session goes on',
    run: (conversation) => conversation.leave('detached'),
  },
  quit: { about: 'ends the session', run: quit },
};

/** The command that a line begins with, without its slash; null: the line is a message, as `/etc/hosts` is. */
export function readSlashCommand(text: string): string | null {
  const name = /^\/([a-z]+)(?:\s|$)/i.exec(text)?.[1];
  return name === undefined ? null : name.toLowerCase();
}

/** Runs it, or says that there is none of that name. */
export async function runSlashCommand(
  conversation: Conversation,
  name: string,
  text: string,
): Promise<void> {
  const command = Object.hasOwn(slashCommands, name) ? slashCommands[name] : undefined;
  if (command !== undefined) {
    await command.run(conversation, text.slice(name.length + 1).trim());
    return;
  }
  const known = Object.keys(slashCommands).map((one) => `/${one}`);
  conversation.options.stage.note(
    `Unknown command /${name}. There are ${known.join(' ')}.`,
    'warning',
  );
}

function help({ options: { stage } }: Conversation): void {
  const lines = Object.entries(slashCommands).map(
    ([name, { about }]) => `  /${name.padEnd(9)} ${about}`,
  );
  const keys = [
    '  Enter      sends; Alt-Enter or Ctrl-J makes a new line',
    '  Ctrl-C     cancels the turn; twice it detaches',
    '  Ctrl-D     detaches',
  ];
  stage.note([...lines, ...keys].join('\n'), 'quiet');
}

async function status({ options, signal }: Conversation): Promise<void> {
  const view = await options.client.session(options.session.session, { signal });
  const { input_tokens: read, output_tokens: written } = view.usage;
  const lines = [
    `session  ${view.session}`,
    `agent    ${sanitizeLine(view.agent)}`,
    `status   ${view.status}, turn ${view.turn_state}, ${String(view.clients)} attached`,
    `so far   ${String(view.turns)} turns, ${String(read)} tokens in, ${String(written)} out`,
  ];
  options.stage.note(lines.join('\n'), 'quiet');
}

async function approve(conversation: Conversation, args: string): Promise<void> {
  const match = /^(appr_\w+)?\s*(always)?$/.exec(args);
  if (!match) {
    conversation.options.stage.note('/approve [approval] [always]', 'warning');
    return;
  }
  await decide(conversation, match[1] ?? '', match[2] ? 'allow_always' : 'allow_once');
}

async function deny(conversation: Conversation, args: string): Promise<void> {
  await decide(conversation, args, 'deny');
}

async function decide(
  conversation: Conversation,
  id: string,
  decision: ApprovalDecision,
): Promise<void> {
  const { readOnly, stage } = conversation.options;
  const ask = conversation.findAsk('approval', id);
  if (readOnly) stage.note('This is read-only: nothing is decided here.', 'warning');
  else if (!ask) stage.note('No such approval waits in this session.', 'warning');
  else await conversation.decide(ask, decision);
}

async function answer(conversation: Conversation, args: string): Promise<void> {
  const { readOnly, stage } = conversation.options;
  const [, id = '', text = ''] = /^(q_\w+)?\s*(.*)$/s.exec(args) ?? [];
  const ask = conversation.findAsk('question', id);
  if (readOnly) stage.note('This is read-only: nothing is answered here.', 'warning');
  else if (!ask || text === '')
    stage.note('/answer [question] <answer>; none such waits, or the answer is empty.', 'warning');
  else await conversation.answer(ask, choiceAt(ask, text) ?? text);
}

async function pause(conversation: Conversation): Promise<void> {
  await control(conversation, 'pause');
}

async function resume(conversation: Conversation): Promise<void> {
  await control(conversation, 'resume');
}

async function control(conversation: Conversation, what: 'pause' | 'resume'): Promise<void> {
  const { client, session, readOnly, stage } = conversation.options;
  if (readOnly) {
    stage.note('This is read-only: the session goes on as it does. /detach leaves.', 'warning');
    return;
  }
  await client.control(session.session, what, { signal: conversation.signal });
}

async function reset(conversation: Conversation): Promise<void> {
  await end(conversation, 'reset');
}

async function quit(conversation: Conversation): Promise<void> {
  await end(conversation, 'user');
}

async function end(conversation: Conversation, reason: 'user' | 'reset'): Promise<void> {
  const { client, session, readOnly, stage } = conversation.options;
  if (readOnly) {
    stage.note('This is read-only: the session goes on. /detach leaves.', 'warning');
    return;
  }
  await client.end(session.session, reason, { signal: conversation.signal });
  conversation.leave(reason === 'reset' ? 'reset' : 'quit');
}
