import { MAX_PROGRESS_LENGTH } from '@duragent/protocol';
import { z } from 'zod';
import type { Tool } from '../../ports/tool.ts';
import { typedTool } from './typed-tool.ts';

/** Shows people how far the turn is, wherever they look: it changes nothing, and nothing of it is kept. */
export const reportProgressTool: Tool = typedTool({
  name: 'report_progress',
  description:
    'Shows the people of this session how far you are, while you work on something long: one line that takes the place of the one before. It is no answer and nobody is notified; say what matters in your answer.',
  schema: z.strictObject({
    text: z
      .string()
      .trim()
      .min(1)
      .max(MAX_PROGRESS_LENGTH)
      .describe('What you are doing now, in a few words'),
    percent: z
      .number()
      .min(0)
      .max(100)
      .optional()
      .describe('How much of the whole is done, 0 to 100; leave it out where nobody knows'),
  }),
  builtin: 'report_progress',
  action: () => null,
  harmless: () => true,
  shown: ({ text }) => `Show people how far it is: ${text}`,
  isTrusted: true,
  effect: 'pure',
  onInterrupt: 'retry',
  async run({ text, percent }, { onProgress }) {
    onProgress({ text, ...(percent === undefined ? {} : { percent: Math.round(percent) }) });
    return { outcome: 'ok', content: 'Shown.' };
  },
});
