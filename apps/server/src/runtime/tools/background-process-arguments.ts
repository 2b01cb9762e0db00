import { z } from 'zod';
import { isKey, KEY_NAMES } from '../../core/processes/keys.ts';

const actions = [
  'spawn',
  'list',
  'status',
  'log',
  'capture',
  'send_keys',
  'write',
  'kill',
  'watch',
] as const;
export type ProcessAction = (typeof actions)[number];

/** Which arguments an action has to have, and which it may have. */
const takes: Record<ProcessAction, { must: readonly string[]; may: readonly string[] }> = {
  spawn: { must: ['command'], may: ['name', 'interactive'] },
  list: { must: [], may: [] },
  status: { must: ['id'], may: [] },
  log: { must: ['id'], may: ['lines', 'offset'] },
  capture: { must: ['id'], may: ['lines'] },
  send_keys: { must: ['id'], may: ['text', 'keys'] },
  write: { must: ['id'], may: ['text', 'end_input'] },
  kill: { must: ['id'], may: [] },
  watch: { must: ['id', 'text'], may: [] },
};

/** Linux takes no longer argument (131,071 bytes); a character has at most 3 bytes a UTF-16 unit. */
const MAX_COMMAND_LENGTH = 40_000;
const MAX_INPUT_LENGTH = 64 * 1024;
/** tmux takes no longer command than 16 KiB. */
const MAX_TYPED_LENGTH = 4000;
const MAX_WATCHED_LENGTH = 200;
export const DEFAULT_LINES = 100;
const MAX_LINES = 2000;

/** The arguments of `background_process`. */
export const processArguments = z
  .strictObject({
    action: z.enum(actions),
    command: z
      .string()
      .max(MAX_COMMAND_LENGTH)
      .refine((text) => text.trim() !== '', 'the command is empty')
      .refine(isGiveable, 'no command can have this character (NUL or half a pair)')
      .describe('spawn: one bash command.')
      .optional(),
    name: z.string().min(1).max(60).describe('spawn: what it is to be called.').optional(),
    interactive: z
      .boolean()
      .describe('spawn: in a terminal, for what asks questions or draws on the screen.')
      .optional(),
    id: z
      .string()
      .max(100)
      .regex(/^proc_[0-9a-z]+$/, 'expected an id such as proc_…, as spawn and list give it')
      .describe('Which process; for all but spawn and list.')
      .optional(),
    lines: z
      .int()
      .min(1)
      .max(MAX_LINES)
      .describe(
        `log: the last so many lines (${DEFAULT_LINES}). capture: how many above the screen (0).`,
      )
      .optional(),
    offset: z.int().min(0).describe('log: from this byte on, instead of the end.').optional(),
    text: z
      .string()
      .min(1)
      .max(MAX_INPUT_LENGTH)
      .refine(isGiveable, 'it holds a character that no program can be given (NUL or half a pair)')
      .describe(
        'send_keys: typed as it is, before the keys. write: for its standard input; line ends are not added. watch: a part of a line, as it is.',
      )
      .optional(),
    keys: z
      .array(z.string().max(20).refine(isKey, `a key is one of ${KEY_NAMES}`))
      .min(1)
      .max(50)
      .describe(`send_keys: pressed in this order: ${KEY_NAMES}.`)
      .optional(),
    end_input: z.boolean().describe('write: whether its input ends there.').optional(),
  })
  .superRefine((args, context) => {
    const { action, text } = args;
    const { must, may } = takes[action];
    const given = Object.entries(args).flatMap(([key, value]) =>
      value === undefined || key === 'action' ? [] : [key],
    );
    const fault = (message: string): void => context.addIssue({ code: 'custom', message });
    const missing = must.filter((key) => !given.includes(key));
    if (missing.length > 0) fault(`${action} needs ${missing.join(' and ')}`);
    const other = given.filter((key) => !must.includes(key) && !may.includes(key));
    if (other.length > 0) fault(`${action} takes no ${other.join(' and no ')}`);
    if (action === 'log' && args.lines !== undefined && args.offset !== undefined) {
      fault('log takes lines or offset, not both');
    }
    if (action === 'send_keys') {
      if (text === undefined && args.keys === undefined) fault('send_keys needs text or keys');
      if (text !== undefined && text.length > MAX_TYPED_LENGTH) {
        fault(`at most ${MAX_TYPED_LENGTH} characters are typed at once; write a file instead`);
      }
      if (text !== undefined && hasControl(text)) {
        fault('text is typed as it is, without line ends and control characters; use keys');
      }
    }
    if (action === 'write' && text === undefined && args.end_input !== true) {
      fault('write needs text or end_input');
    }
    if (action === 'watch' && text !== undefined) {
      if (text.length > MAX_WATCHED_LENGTH) {
        fault(`a text to watch for has at most ${MAX_WATCHED_LENGTH} characters`);
      }
      if (hasControl(text)) fault('a text to watch for lies in one line; leave out line ends');
    }
  });
export type ProcessArguments = z.infer<typeof processArguments>;

function isGiveable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
