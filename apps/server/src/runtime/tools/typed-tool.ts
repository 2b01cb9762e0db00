import { DuragentError } from '@duragent/protocol';
import { z } from 'zod';
import type { Progress, Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';

/** A built-in tool that starts no process, with its arguments as its schema read them. */
export interface TypedTool<Args> {
  name: string;
  description: string;
  /** A strict object. */
  schema: z.ZodType<Args>;
  /** The name that agents and policies have for it, `memory`. */
  builtin: string;
  /** What policies call this use of it; null where it does one thing only. */
  action(args: Args): string | null;
  /** As in `PolicyCall`. */
  harmless(args: Args): boolean;
  /** As in `CallPlan`. */
  shown(args: Args): string;
  /** As in `Tool`. */
  isTrusted?: boolean;
  /** As in `CallPlan`; absent: it never does. */
  writesTrusted?(args: Args): boolean;
  effect: Tool['effect'];
  onInterrupt: Tool['onInterrupt'];
  /** A DuragentError that it throws is told to the model. */
  run(
    args: Args,
    options: {
      signal: AbortSignal;
      caller: ToolCaller;
      onProgress: (progress: Progress) => void;
    },
  ): Promise<ToolResult>;
}

/** A tool that checks its arguments before they are judged, and again before they are used. */
export function typedTool<Args>(typed: TypedTool<Args>): Tool {
  const { name, description, schema, effect, onInterrupt } = typed;
  const { $schema: _, ...parameters } = z.toJSONSchema(schema, { io: 'input' });
  return {
    name,
    description,
    parameters,
    effect,
    onInterrupt,
    ...(typed.isTrusted === undefined ? {} : { isTrusted: typed.isTrusted }),
    plan(args) {
      const read = schema.safeParse(args);
      if (!read.success) return { fault: faultOf(read.error) };
      return {
        policy: {
          kind: 'builtin',
          name: typed.builtin,
          action: typed.action(read.data),
          args,
          harmless: typed.harmless(read.data),
        },
        shown: typed.shown(read.data),
        command: null,
        ...(typed.writesTrusted?.(read.data) ? { writesTrusted: true } : {}),
      };
    },
    async run(args, { signal, caller, onProgress = ignore }) {
      const read = schema.safeParse(args);
      if (!read.success) return { outcome: 'error', content: faultOf(read.error) };
      if (signal.aborted) return CANCELLED;
      try {
        return await typed.run(read.data, { signal, caller, onProgress });
      } catch (error) {
        if (signal.aborted) return CANCELLED;
        if (!(error instanceof DuragentError)) throw error;
        return { outcome: 'error', content: error.message, details: { code: error.code } };
      }
    },
  };
}

const ignore = (): void => undefined;

const CANCELLED: ToolResult = { outcome: 'cancelled', content: 'Cancelled.' };

function faultOf(error: z.ZodError): string {
  const lines = error.issues.slice(0, 10).map(({ path, message }) => {
    const where = path.map(String).join('.');
    return where === '' ? message : `${where}: ${message}`;
  });
  return `The arguments are wrong. ${lines.join('; ')}`;
}
