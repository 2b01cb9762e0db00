import { Bench, NO_PROVOKE, type BenchOptions } from './bench.ts';
import { endRules, lastRules } from './end-rules.ts';
import { handshakeRules } from './handshake-rules.ts';
import { inboundRules } from './inbound-rules.ts';
import { lineRules } from './line-rules.ts';
import { requestRules } from './request-rules.ts';
import { Broken, Skipped, type Result, type Rule } from './rule.ts';

/** What the suite found. */
export interface Report {
  /** What the gateway announced; null: it never became ready. */
  gateway: string | null;
  version: string | null;
  protocol: string | null;
  capabilities: string[];
  rules: Result[];
  /** The end of what it wrote to stderr in each run that a rule failed in. */
  log: string;
}

/** Every rule, in the order of the tests. */
export const allRules: readonly Rule[] = [
  ...handshakeRules,
  ...lineRules,
  ...inboundRules,
  ...requestRules,
  ...endRules,
  ...lastRules,
];

/**
 * Puts a gateway to every test, and ends all that it started.
 * @param onRule is told of each rule before it is tested.
 * @throws the signal's reason, when it aborts
 */
export async function runSuite(
  options: BenchOptions,
  { onRule, signal }: { onRule: (rule: Rule) => void; signal: AbortSignal },
): Promise<Report> {
  const bench = new Bench(options);
  const rules: Result[] = [];
  let log = '';
  try {
    for (const rule of allRules) {
      signal.throwIfAborted();
      onRule(rule);
      const result = await test(rule, { bench, before: rules, signal });
      rules.push(result);
      if (result.result === 'fail') log = bench.runs.at(-1)?.log ?? '';
    }
  } finally {
    await bench.close();
  }
  const { ready } = bench;
  return {
    gateway: ready?.gateway ?? null,
    version: ready?.version ?? null,
    protocol: ready?.protocol ?? null,
    capabilities: ready?.capabilities ?? [],
    rules,
    log,
  };
}

async function test(
  rule: Rule,
  { bench, before, signal }: { bench: Bench; before: readonly Result[]; signal: AbortSignal },
): Promise<Result> {
  const { id, rule: sentence, section } = rule;
  const about = { id, rule: sentence, section };
  try {
    const reason = whyNot(rule, bench, before);
    if (reason !== null) throw new Skipped(reason);
    await unlessAborted(Promise.resolve(rule.check(bench)), signal);
    return { ...about, result: 'pass' };
  } catch (error) {
    if (error instanceof Broken) return { ...about, result: 'fail', why: error.message };
    if (error instanceof Skipped) return { ...about, result: 'skipped', why: error.message };
    throw error;
  } finally {
    bench.endProvocations();
  }
}

/** Why a rule does not apply to this gateway; null: it does. */
function whyNot(rule: Rule, { ready, options }: Bench, before: readonly Result[]): string | null {
  if (rule.unready !== true && ready === null) return 'the gateway never became ready';
  if (rule.v1 === true && ready?.protocol === 'v1alpha1') return 'v1alpha1 has no such part';
  const { capability } = rule;
  if (capability !== undefined && ready?.capabilities.includes(capability) !== true) {
    return `the gateway does not announce the capability ${capability}`;
  }
  if (rule.provoked === true && options.provoke === null) return NO_PROVOKE;
  const isBroken = before.some(({ id, result }) => id === rule.needs && result === 'fail');
  return isBroken ? `the rule ${rule.needs} is broken, and this needs it` : null;
}

async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
    // What was left half done fails when its process is ended, and nobody waits for it.
    work.catch(() => undefined);
  }
}
