import { refusedVariable } from '../child-environment.ts';
import { utf8Length } from '../utf8.ts';

/** The most arguments of one call, and the most bytes that all of them take as JSON. */
const MAX_ARGUMENTS = 64;
export const MAX_ARGUMENTS_BYTES = 100_000;

const PREFIX = 'DURAGENT_ARG_';

/** The arguments of a call as a program gets them. */
export interface ProgramArguments {
  /** JSON, for its standard input. */
  json: string;
  /** `DURAGENT_ARG_<NAME>`; an argument whose name is none for a variable is only in the JSON. */
  env: Record<string, string>;
}

/** The arguments of a call for a program. @returns or why it cannot have them, for the model. */
export function argumentVariables(
  args: Readonly<Record<string, unknown>>,
): ProgramArguments | { fault: string } {
  const entries = Object.entries(args);
  if (entries.length > MAX_ARGUMENTS) {
    return { fault: `There are ${entries.length} arguments, at most ${MAX_ARGUMENTS} are taken.` };
  }
  const json = JSON.stringify(args);
  if (utf8Length(json) > MAX_ARGUMENTS_BYTES) {
    return {
      fault: `The arguments take more than ${MAX_ARGUMENTS_BYTES} bytes: write the long part to a file of the workspace, and name that.`,
    };
  }
  const named = entries.map(([key, value]) => ({ key, variable: variableOf(key), value }));
  const env: Record<string, string> = {};
  for (const { key, variable, value } of named) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (text.includes('\0') || !text.isWellFormed()) {
      return {
        fault: `${JSON.stringify(key.slice(0, 50))} holds a character that no program can be given (NUL or half a pair).`,
      };
    }
    // Of two that would have one name neither is meant more than the other.
    const isOnly = named.filter((other) => other.variable === variable).length === 1;
    if (variable !== null && isOnly) env[variable] = text;
  }
  return { json, env };
}

function variableOf(name: string): string | null {
  if (!/^[A-Za-z_][\w-]{0,62}$/.test(name)) return null;
  const variable = `${PREFIX}${name.toUpperCase().replaceAll('-', '_')}`;
  return refusedVariable(variable) ? null : variable;
}
