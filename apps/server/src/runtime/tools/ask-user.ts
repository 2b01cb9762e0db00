import { MAX_CHOICE_LENGTH, MAX_CHOICES } from '@duragent/protocol';
import { z } from 'zod';
import type { Tool } from '../../ports/tool.ts';

/** The longest time that a question may be open, in seconds: 30 days. */
const MAX_SECONDS = 30 * 24 * 60 * 60;

const argumentsSchema = z.strictObject({
  question: z.string().trim().min(1).max(4000),
  choices: z
    .array(z.string().trim().min(1).max(MAX_CHOICE_LENGTH))
    .min(2)
    .max(MAX_CHOICES)
    .optional(),
  default: z.string().trim().min(1).max(4000).optional(),
  timeout: z.number().min(1).max(MAX_SECONDS).optional(),
});

/** Asks the people of the session, wherever they are, and waits for their answer. */
export const askUserTool: Tool = {
  name: 'ask_user',
  description:
    'Asks the people of this session a question and waits for the answer, for days if it must. Use it when only they can know or decide. With choices they pick one; without, any text is the answer.',
  parameters: {
    type: 'object',
    properties: {
      question: { type: 'string', description: 'What is asked, complete in itself.' },
      choices: {
        type: 'array',
        items: { type: 'string', maxLength: MAX_CHOICE_LENGTH },
        minItems: 2,
        maxItems: MAX_CHOICES,
        description: 'What can be picked; leave it out for a free answer.',
      },
      default: {
        type: 'string',
        description: 'What holds when nobody answers within the timeout; with choices one of them.',
      },
      timeout: {
        type: 'number',
        description: 'Seconds until the question is over; leave it out to wait without a limit.',
      },
    },
    required: ['question'],
    additionalProperties: false,
  },
  effect: 'idempotent',
  onInterrupt: 'tell_model',
  isTrusted: true,
  plan(args) {
    const read = argumentsSchema.safeParse(args);
    if (!read.success) return { fault: z.prettifyError(read.error) };
    const { question: text, choices, default: fallback, timeout } = read.data;
    if (choices && new Set(choices).size < choices.length) {
      return { fault: 'Two of the choices are the same; ask again with different ones.' };
    }
    if (choices && fallback !== undefined && !choices.includes(fallback)) {
      return { fault: 'The default is none of the choices; ask again with one of them.' };
    }
    if (fallback !== undefined && timeout === undefined) {
      return { fault: 'A default needs a timeout: it holds when the time is over.' };
    }
    return {
      policy: { kind: 'builtin', name: 'ask_user', action: null, args, harmless: true },
      shown: text,
      command: null,
      question: {
        text,
        ...(choices ? { choices } : {}),
        ...(fallback === undefined ? {} : { default: fallback }),
        timeoutMs: timeout === undefined ? null : Math.round(timeout * 1000),
      },
    };
  },
  // What is asked ends in its answer; it is never run.
  run: () => Promise.reject(new Error('a question is not run')),
};
