import {
  type CommandOf,
  GATEWAY_PROTOCOL,
  type GatewayReady,
  type GatewayRequest,
  printable,
  type RequestOutcome,
} from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type {
  GatewayHost,
  GatewaySpec,
  GatewayState,
  GatewayStatus,
  RunningGateway,
} from '../../ports/gateway.ts';
import { startChild } from './child.ts';
import { childEnvironment } from './environment.ts';
import { findCommand } from './find-command.ts';
import type { GatewayLife, LifeEnd, LifeListener } from './gateway-life.ts';
import { GatewayLog, type ServerLog } from './gateway-log.ts';
import { LineFaults } from './line-faults.ts';
import type { GatewayProcessLimits } from './limits.ts';
import type { OrphanGuard } from './orphan-guard.ts';
import { type Redactor, redactorOf } from './redact.ts';
import { RestartPacer } from './restart-pacer.ts';

/** What all gateways of a server share. */
export interface SupervisorOptions {
  clock: Clock;
  log: ServerLog;
  baseEnv: Readonly<Record<string, string | undefined>>;
  nodePath: string;
  binDirs: readonly string[];
  isRefusedVariable: (name: string) => boolean;
  cwd?: string;
  random: () => number;
  limits: GatewayProcessLimits;
  guard: OrphanGuard;
}

const MAX_REASON = 500;

/** One gateway and its processes, one after the other. */
export class SupervisedGateway implements RunningGateway {
  readonly #spec: GatewaySpec;
  readonly #host: GatewayHost;
  readonly #options: SupervisorOptions;
  readonly #redact: Redactor;
  readonly #log: GatewayLog;
  readonly #faults: LineFaults;
  readonly #pacer: RestartPacer;
  readonly #done: Promise<void>;
  #state: GatewayState = 'starting';
  #reason: string | null = null;
  #since: string;
  #restarts = 0;
  #ready: GatewayReady | null = null;
  /** When this process became ready, by the clock that never falls; null: it is not. */
  #readyAt: number | null = null;
  #life: GatewayLife | null = null;
  #isStopped = false;
  /** A person wants it started without a pause. */
  #isRestartAsked = false;
  /** Ends the pause before the next start; null: there is none. */
  #wake: (() => void) | null = null;
  /** Resolves when a process was started, or could not be. */
  #nextStart = Promise.withResolvers<void>();

  constructor(spec: GatewaySpec, host: GatewayHost, options: SupervisorOptions) {
    const { clock, log, limits, random } = options;
    this.#spec = spec;
    this.#host = host;
    this.#options = options;
    this.#redact = redactorOf([spec.config, spec.env]);
    const shared = { name: spec.name, clock, log, redact: this.#redact, limits };
    this.#log = new GatewayLog(shared);
    this.#faults = new LineFaults(shared);
    this.#pacer = new RestartPacer(limits, random);
    this.#since = this.#now();
    // Not before whoever calls has this gateway in hand.
    this.#done = Promise.resolve().then(() => this.#supervise());
  }

  get status(): GatewayStatus {
    return {
      state: this.#state,
      reason: this.#reason,
      since: this.#since,
      pid: this.#life?.pid ?? null,
      restarts: this.#restarts,
      ready: this.#ready,
      dropped: this.#faults.dropped,
      unknown: this.#faults.unknown,
    };
  }

  get log(): readonly string[] {
    return this.#log.lines;
  }

  async request(
    request: Exclude<GatewayRequest, CommandOf<'ping'>>,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RequestOutcome> {
    if (!this.#life?.isOpen) {
      const why = this.#reason === null ? '' : `: ${this.#reason}`;
      return { type: 'unsent', reason: `the gateway is not ready (${this.#state})${why}` };
    }
    const outcome = await this.#life.request(request, options);
    if (outcome.type !== 'answered') return { ...outcome, reason: this.#clean(outcome.reason) };
    const { answer } = outcome;
    if (answer.type !== 'command_error') return outcome;
    return { ...outcome, answer: { ...answer, message: this.#redact(answer.message) } };
  }

  notify(command: CommandOf<'preview_message' | 'send_typing'>): boolean {
    return this.#life?.notify(command) ?? false;
  }

  /** Resolves when the new process was started or could not be. Without effect after `stop`. */
  async restart(): Promise<void> {
    if (this.#isStopped) return;
    this.#pacer.reset();
    this.#isRestartAsked = true;
    const started = this.#nextStart.promise;
    this.#life?.end({ kind: 'asked', reason: 'was restarted' });
    this.#wake?.();
    await started;
  }

  async stop(options?: { withinMs: number }): Promise<void> {
    this.#isStopped = true;
    this.#life?.end({ kind: 'asked', reason: 'was stopped' }, options?.withinMs);
    this.#wake?.();
    await this.#done;
  }

  /** The one owner of starts: a process, a pause, and again. Never rejects. */
  async #supervise(): Promise<void> {
    while (!this.#isStopped) {
      const end = await this.#live();
      if (this.#isStopped) break;
      await this.#pause(end);
      if (this.#isStopped) break;
      this.#restarts += 1;
    }
    this.#enter('stopped', null);
    this.#nextStart.resolve();
  }

  /** Starts a process and waits until nothing of it is left. */
  async #live(): Promise<LifeEnd> {
    // Why it was not ready stays to be seen until it is.
    this.#enter('starting', this.#reason);
    try {
      const life = await this.#start();
      if ('kind' in life) {
        this.#announceStart();
        return life;
      }
      this.#life = life;
      this.#options.log.info({ gateway: this.#spec.name, pid: life.pid }, 'gateway started');
      this.#tell();
      this.#announceStart();
      // Asked for while it was being started.
      if (this.#isStopped) life.end({ kind: 'asked', reason: 'was stopped' });
      const end = await life.ended;
      const { clock, limits } = this.#options;
      if (this.#readyAt !== null && clock.monotonic() - this.#readyAt >= limits.healthyMs) {
        this.#pacer.reset();
      }
      return { ...end, reason: this.#clean(end.reason) };
    } finally {
      this.#life = null;
      this.#readyAt = null;
    }
  }

  /** Whoever waits for a start goes on. */
  #announceStart(): void {
    this.#isRestartAsked = false;
    this.#nextStart.resolve();
    this.#nextStart = Promise.withResolvers();
  }

  async #start(): Promise<GatewayLife | LifeEnd> {
    const { baseEnv, nodePath, binDirs, isRefusedVariable, cwd, guard, clock, limits } =
      this.#options;
    const { command, args, env } = this.#spec;
    const refused = Object.keys(env).filter(isRefusedVariable);
    if (refused.length > 0) {
      const reason = `cannot be started: its env sets ${refused.map((name) => JSON.stringify(name)).join(', ')}, which could make programs load other code: remove it from duragent.yaml`;
      return { kind: 'fatal', reason: this.#clean(reason) };
    }
    const childEnv = childEnvironment({ base: baseEnv, nodePath, env });
    const found = await findCommand(command, { path: childEnv['PATH'] ?? '', binDirs });
    if (found.file === null) {
      return { kind: 'fatal', reason: this.#clean(`cannot be started: ${found.reason}`) };
    }
    // With what reads lines, which a server without gateways does not need.
    const { GatewayLife } = await import('./gateway-life.ts');
    if (this.#isStopped) return { kind: 'asked', reason: 'was stopped' };
    try {
      const settings = this.#host.settings();
      const child = await startChild(found.file, args, { env: childEnv, cwd, guard });
      this.#faults.startOver();
      return new GatewayLife({
        child,
        clock,
        limits,
        on: this.#listener(),
        configure: {
          type: 'configure',
          protocol: GATEWAY_PROTOCOL,
          name: this.#spec.name,
          account: settings.account,
          config: this.#spec.config,
          cursor: settings.cursor,
          limits: settings.limits,
          media_dir: settings.mediaDir,
          streaming: settings.streaming,
          commands: [...settings.commands],
        },
      });
    } catch (error) {
      return {
        kind: isLasting(error) ? 'fatal' : 'failed',
        reason: this.#clean(`cannot be started: ${messageOf(error)}`),
      };
    }
  }

  /** Waits until it may be started again: for ever where it is to be left. */
  async #pause(end: LifeEnd): Promise<void> {
    if (this.#isRestartAsked) return;
    const { clock, log, limits } = this.#options;
    const { state, delayMs } = this.#plan(end, clock.monotonic(), limits);
    this.#enter(state, end.reason);
    const fields = {
      gateway: this.#spec.name,
      reason: end.reason,
      ...(delayMs === null ? {} : { again_in_ms: Math.round(delayMs) }),
    };
    if (state === 'fatal' || state === 'degraded') log.error(fields, `gateway is ${state}`);
    else log.warn(fields, 'gateway ended');
    await new Promise<void>((resolve) => {
      const cancel = delayMs === null ? () => undefined : clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
      // The host may have asked when it was told.
      if (this.#isStopped || this.#isRestartAsked) this.#wake();
    });
    this.#wake = null;
  }

  /** What follows an end. `delayMs` null: nothing, until somebody asks. */
  #plan(
    end: LifeEnd,
    now: number,
    limits: GatewayProcessLimits,
  ): { state: GatewayState; delayMs: number | null } {
    const state = this.#stateAfter(end);
    if (state === 'stopped') return { state, delayMs: null };
    if (state === 'fatal') return { state, delayMs: limits.probeMs };
    const { delayMs, degraded } = this.#pacer.next(now);
    return { state: degraded ? 'degraded' : state, delayMs };
  }

  #stateAfter({ kind }: LifeEnd): 'stopped' | 'fatal' | 'backoff' {
    const { restart } = this.#spec;
    if (restart === 'never' || (restart === 'on_failure' && kind === 'left')) return 'stopped';
    return kind === 'fatal' ? 'fatal' : 'backoff';
  }

  #listener(): LifeListener {
    const { log, clock } = this.#options;
    const gateway = this.#spec.name;
    return {
      ready: (ready) => {
        this.#ready = ready;
        this.#readyAt = clock.monotonic();
        log.info({ gateway, version: printable(ready.version, 100) }, 'gateway ready');
        this.#enter('ready', null);
      },
      inbound: (event) => Promise.try(() => this.#host.inbound(event)),
      event: (event) => {
        switch (event.type) {
          case 'error':
          case 'auth_required':
            this.#safely(() =>
              this.#host.event({ ...event, message: this.#redact(event.message) }),
            );
            return;
          case 'inbound_gap':
            this.#safely(() => this.#host.event({ ...event, reason: this.#redact(event.reason) }));
            return;
          default:
            this.#safely(() => this.#host.event(event));
        }
      },
      fault: (fault) => this.#faults.take(fault),
      text: (text) => this.#log.push(text),
      notDurable: (error) =>
        log.error(
          { gateway, why: this.#clean(messageOf(error)) },
          'a gateway event was not stored: the gateway is replaced, and its platform sends it again',
        ),
      ending: (end) => {
        if (this.#isStopped) return;
        if (this.#isRestartAsked) this.#enter('starting', null);
        // Stopped is one of which nothing is left.
        else
          this.#enter(
            this.#stateAfter(end) === 'fatal' ? 'fatal' : 'backoff',
            this.#clean(end.reason),
          );
      },
    };
  }

  #enter(state: GatewayState, reason: string | null): void {
    if (state !== this.#state) this.#since = this.#now();
    this.#state = state;
    this.#reason = reason;
    this.#tell();
  }

  #tell(): void {
    this.#safely(() => this.#host.changed(this.status));
  }

  /** A fault of the host is not the gateway's, and ends neither. */
  #safely(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.log.error({ gateway: this.#spec.name, err: error }, 'gateway host failed');
    }
  }

  /** Fit to be shown: without secrets, control characters and what is too long. */
  #clean(text: string): string {
    return printable(this.#redact(text), MAX_REASON);
  }

  #now(): string {
    return new Date(this.#options.clock.now()).toISOString();
  }
}

/** Whether a start that failed so would fail again: neither memory nor descriptors were short. */
function isLasting(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (typeof code !== 'string') return false;
  return (
    ['ENOENT', 'EACCES', 'EPERM', 'ENOEXEC', 'ENOTDIR', 'E2BIG'].includes(code) ||
    code.startsWith('ERR_')
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
