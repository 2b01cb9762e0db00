import { readGatewayEvent } from '../connection.ts';
import { type GatewayEvent, MAX_LINE_BYTES, MAX_LINE_DEPTH } from '../gateway/event.ts';
import { encodeLine } from '../lines.ts';
import { isTooDeep } from './is-too-deep.ts';

/** An event as a line. @throws TypeError or RangeError when the server would not take it. */
export function encodeEvent(event: GatewayEvent): Uint8Array {
  const result = readGatewayEvent(event);
  if (!result.ok) {
    const why = result.fault.kind === 'invalid' ? result.fault.fault : result.fault.kind;
    throw new TypeError(`"${event.type}" does not fit the protocol: ${why}`);
  }
  const line = encodeLine(event, { maxBytes: MAX_LINE_BYTES });
  if (isTooDeep(line)) {
    throw new TypeError(`"${event.type}" is nested deeper than ${MAX_LINE_DEPTH} levels`);
  }
  return line;
}
