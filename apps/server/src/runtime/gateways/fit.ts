import type { GatewayLimits } from '@duragent/protocol';
import type { TextLimits } from '../../core/split.ts';

/** Begins a part that may be there already. */
export const REPEATED_MARK = '[sent again]\n\n';

/** How long the parts for a gateway may be: a mark has to fit before them. */
export function limitsOfParts(limits: GatewayLimits): TextLimits {
  return { maxLength: limits.max_length - REPEATED_MARK.length, unit: limits.length_unit };
}

/** A text as far as one message of a gateway holds it. */
export function fit(text: string, limits: GatewayLimits): string {
  // Four bytes are the most that a character takes in any unit.
  const most = Math.floor(limits.max_length / (limits.length_unit === 'bytes' ? 4 : 1));
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
