import type { Clock } from '../../ports/clock.ts';
import type { GatewayRunner } from '../../ports/gateway.ts';
import type { ServerLog } from './gateway-log.ts';
import { defaultLimits, type GatewayProcessLimits } from './limits.ts';
import { OrphanGuard } from './orphan-guard.ts';
import { SupervisedGateway } from './supervised-gateway.ts';

export interface ProcessGatewayOptions {
  clock: Clock;
  log: ServerLog;
  /** The server's own environment; little of it is handed on. */
  baseEnv: Readonly<Record<string, string | undefined>>;
  /** The server's own Node (`process.execPath`): its folder comes first on a gateway's PATH. */
  nodePath: string;
  /** Absolute `node_modules/.bin` folders where commands are looked for after PATH. */
  binDirs: readonly string[];
  /** Whether a variable may not be set for a gateway: `refusedVariable` of the core. */
  isRefusedVariable: (name: string) => boolean;
  /** Where gateways run; the server's own folder where it is left out. */
  cwd?: string;
  /** From 0 to 1; spreads restarts. */
  random?: () => number;
  limits?: Partial<GatewayProcessLimits>;
}

/** Runs each gateway as a process of its own, in a group of its own, and keeps it running. */
export function processGateways(options: ProcessGatewayOptions): GatewayRunner {
  const shared = {
    ...options,
    limits: { ...defaultLimits, ...options.limits },
    random: options.random ?? Math.random,
    guard: new OrphanGuard(options.log),
  };
  return { run: (spec, host) => new SupervisedGateway(spec, host, shared) };
}
