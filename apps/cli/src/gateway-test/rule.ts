import type { GatewayCapability } from '@duragent/protocol';
import type { Bench } from './bench.ts';

/** One promise of a gateway, and how it is put to the test. */
export interface Rule {
  id: string;
  /** What is promised, in a sentence. */
  rule: string;
  /** The section of PROTOCOL.md that says so. */
  section: string;
  /** Only of gateways that announce it. */
  capability?: GatewayCapability;
  /** Only of gateways that speak `v1`: `v1alpha1` has no such part. */
  v1?: true;
  /** Needs a way to make somebody say something: `--provoke`. */
  provoked?: true;
  /** Also of a gateway that never became ready. */
  unready?: true;
  /** The rule without which this one cannot be told: skipped where that is broken. */
  needs?: string;
  /** Tests it. @throws Broken when the rule is not kept, Skipped when that cannot be known. */
  check(bench: Bench): Promise<void> | void;
}

/** What came of a rule. */
export interface Result {
  id: string;
  rule: string;
  section: string;
  result: 'pass' | 'fail' | 'skipped';
  /** Why it is not `pass`. */
  why?: string;
}

/** The rule is not kept. */
export class Broken extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'Broken';
  }
}

/** Whether the rule is kept cannot be known here. */
export class Skipped extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'Skipped';
  }
}
