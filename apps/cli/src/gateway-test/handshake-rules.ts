import { gatewayCapabilitySchema } from '@duragent/protocol';
import type { SeenLine } from './gateway-process.ts';
import { Broken, Skipped, type Rule } from './rule.ts';
import { ending } from './bench.ts';

const known: ReadonlySet<string> = new Set(gatewayCapabilitySchema.options);
/** What may come before `ready`; lines without a type break rules of their own. */
const early: ReadonlySet<string> = new Set(['auth_required', 'auth_success', 'error', 'pong', '']);

/** How a gateway begins. */
export const handshakeRules: readonly Rule[] = [
  {
    id: 'ready-first',
    rule: 'Answers configure with ready, in time, before anything else.',
    section: 'Handshake',
    unready: true,
    async check(bench) {
      const { answerMs } = bench.options;
      const run = await bench.launch();
      await bench.configure(run);
      const first = (): SeenLine | undefined => run.lines.find((line) => !early.has(typeOf(line)));
      await run.until(() => first() !== undefined || run.exit !== null, answerMs);
      const line = first();
      if (line !== undefined && typeOf(line) !== 'ready') {
        throw new Broken(`its first line is no ready: ${describe(line)}`);
      }
      if (line !== undefined) return;
      const fault = run.events.find((event) => event.type === 'error');
      const said = fault === undefined ? '' : `; it said ${fault.code}: ${fault.message}`;
      if (run.exit !== null) throw new Broken(`${ending(run)} before ready${said}`);
      throw new Broken(`no ready within ${answerMs} ms${said}`);
    },
  },
  {
    id: 'ready-valid',
    rule: 'Its ready is valid: a name, a protocol, limits if any.',
    section: 'From a gateway: `ready`',
    unready: true,
    check(bench) {
      const lines = bench.runs[0]?.lines ?? [];
      const ready = lines.find((line) => typeOf(line) === 'ready');
      if (ready !== undefined && 'fault' in ready) throw new Broken(describe(ready));
      if (ready === undefined) throw new Skipped('there was no ready');
    },
  },
  {
    id: 'protocol-version',
    rule: 'Announces protocol v1, or v1alpha1.',
    section: 'Gateway versions',
    check({ ready }) {
      const protocol = ready?.protocol ?? '';
      if (!/^v1(\.\d{1,9})?$|^v1alpha1$/.test(protocol)) {
        throw new Broken(`it announces ${JSON.stringify(protocol)}`);
      }
    },
  },
  {
    id: 'capabilities-known',
    rule: 'Announces only capabilities that v1 has, each once.',
    section: 'Capabilities of a gateway',
    check({ ready }) {
      const announced = ready?.capabilities ?? [];
      const strange = announced.filter(
        (name, index) => !known.has(name) || announced.indexOf(name) !== index,
      );
      if (strange.length > 0) throw new Broken(`unknown or repeated: ${strange.join(', ')}`);
    },
  },
];

/** The type of a line; empty where it has none. */
export function typeOf(line: SeenLine): string {
  if ('event' in line) return line.event.type;
  const { fault } = line;
  return fault.kind === 'invalid' || fault.kind === 'unknown' ? (fault.type ?? '') : '';
}

/** A line in words. */
export function describe(line: SeenLine): string {
  if ('event' in line) return `a ${line.event.type}`;
  const { fault } = line;
  switch (fault.kind) {
    case 'too_long':
      return `a line of ${fault.bytes} bytes; 1 MiB is allowed`;
    case 'not_json':
      return `no JSON: ${JSON.stringify(fault.text.slice(0, 120))}`;
    case 'too_deep':
      return 'a line nested deeper than 64 levels';
    case 'invalid':
      return `an invalid ${fault.type ?? 'line'}: ${fault.fault}`;
    case 'unknown':
      return `a line of a type that v1 does not have: ${fault.type}`;
    case 'unasked':
      return `an answer to nothing that was asked: ${fault.request_id}`;
  }
}
