import type { LineFault } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type { ServerLog } from './gateway-log.ts';
import type { GatewayProcessLimits } from './limits.ts';
import type { Redactor } from './redact.ts';

/** Counts the lines of a gateway that could not be taken, and reports each kind once in a while. */
export class LineFaults {
  readonly #options: {
    name: string;
    clock: Clock;
    log: ServerLog;
    redact: Redactor;
    limits: GatewayProcessLimits;
  };
  readonly #reports = new Map<LineFault['kind'], { at: number; unreported: number }>();
  /** When the newest dropped lines of this process came. */
  #droppedAt: number[] = [];
  #dropped = 0;
  #unknown = 0;

  constructor(options: {
    name: string;
    clock: Clock;
    log: ServerLog;
    redact: Redactor;
    limits: GatewayProcessLimits;
  }) {
    this.#options = options;
  }

  /** Lines that were meant as events and were none. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Lines that were ignored: of unknown types, and answers to nothing. */
  get unknown(): number {
    return this.#unknown;
  }

  /** Takes one. @returns whether there were more than are endured. */
  take(fault: LineFault): boolean {
    if (isText(fault)) return false;
    const now = this.#options.clock.monotonic();
    this.#report(fault, now);
    if (fault.kind === 'unknown' || fault.kind === 'unasked') {
      this.#unknown += 1;
      return false;
    }
    this.#dropped += 1;
    const { maxInvalidLines, invalidWindowMs } = this.#options.limits;
    this.#droppedAt = [...this.#droppedAt.slice(-maxInvalidLines), now];
    const [oldest] = this.#droppedAt;
    return (
      this.#droppedAt.length > maxInvalidLines &&
      oldest !== undefined &&
      now - oldest <= invalidWindowMs
    );
  }

  /** Another process begins: what the one before did is not held against it. */
  startOver(): void {
    this.#droppedAt = [];
  }

  #report(fault: LineFault, now: number): void {
    const { name, log, redact, limits } = this.#options;
    const report = this.#reports.get(fault.kind);
    if (report !== undefined && now - report.at < limits.reportEveryMs) {
      report.unreported += 1;
      return;
    }
    const lines = (report?.unreported ?? 0) + 1;
    this.#reports.set(fault.kind, { at: now, unreported: 0 });
    log.warn({ gateway: name, lines, why: redact(describe(fault)) }, 'gateway line dropped');
  }
}

/** Whether it was no message at all, but a text that its author wrote to the wrong stream. */
export function isText(fault: LineFault): fault is Extract<LineFault, { kind: 'not_json' }> {
  return fault.kind === 'not_json' && !fault.text.trimStart().startsWith('{');
}

/** What was wrong with a line, in words for people. */
export function describe(fault: LineFault): string {
  switch (fault.kind) {
    case 'too_long':
      return `a line of ${fault.bytes} bytes is longer than a line may be`;
    case 'not_json':
      return `a line is no JSON: ${fault.text}`;
    case 'too_deep':
      return 'a line is nested too deeply';
    case 'invalid':
      return `${fault.type === null ? 'a line' : `a "${fault.type}"`} is not valid: ${fault.fault}`;
    case 'unknown':
      return `the type "${fault.type}" is not known`;
    case 'unasked':
      return `the request "${fault.request_id}" is not open, or was answered before`;
  }
}
