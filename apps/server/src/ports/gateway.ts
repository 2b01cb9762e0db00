import type {
  ChatCommand,
  CommandOf,
  GatewayAnswer,
  GatewayCommand,
  GatewayEventOf,
  GatewayLimits,
  GatewayReady,
  GatewayRequest,
  InboundEvent,
} from '@duragent/protocol';

/** One gateway as duragent.yaml describes it, paths resolved and secrets filled in. */
export interface GatewaySpec {
  name: string;
  /** A name on PATH or in node_modules/.bin, or an absolute path. */
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  config: Readonly<Record<string, unknown>>;
  restart: 'always' | 'on_failure' | 'never';
}

/**
 * `starting`: until `ready`; `backoff`: waits to be started again; `degraded`: more than 5 restarts
 * in a minute, tried every 5 minutes; `fatal`: its reason does not go away by itself, probed every
 * 10 minutes; `stopped`: it ended and `restart` says to leave it, or it was stopped.
 */
export type GatewayState = 'starting' | 'ready' | 'backoff' | 'degraded' | 'fatal' | 'stopped';

export interface GatewayStatus {
  state: GatewayState;
  /** Why it is not ready, in words for people; null where there is nothing to say. */
  reason: string | null;
  /** ISO instant since which it is in this state. */
  since: string;
  pid: number | null;
  restarts: number;
  /** What it announced last. */
  ready: GatewayReady | null;
  /** Lines dropped because they were no valid events, and lines or fields of unknown kinds that were ignored. */
  dropped: number;
  unknown: number;
}

/** What a gateway's process is told, and tells. One for each gateway; outlives its processes. */
export interface GatewayHost {
  /** What `configure` carries beside the spec, asked for at each start. */
  settings(): {
    account: string;
    cursor: unknown;
    limits: GatewayLimits;
    mediaDir: string;
    streaming: 'edit' | 'draft';
    commands: readonly ChatCommand[];
  };
  /**
   * Makes an event durable. Resolves when it is: then it is acknowledged. Rejects when it cannot be:
   * then it is not, and the gateway's process is replaced, so that the platform redelivers. Called
   * in the order of the lines, without waiting for the one before.
   */
  inbound(event: InboundEvent): Promise<void>;
  /** An event that needs no record of its own. */
  event(
    event: GatewayEventOf<
      'preview_posted' | 'inbound_gap' | 'error' | 'auth_required' | 'auth_success'
    >,
  ): void;
  /** Its state or what it announced has changed. */
  changed(status: GatewayStatus): void;
}

/**
 * What became of a request. `unsent`: the gateway never got it. `lost`: it may have done it; its
 * process ended, or the time was over, before it answered.
 */
export type RequestOutcome =
  | { type: 'answered'; answer: GatewayAnswer }
  | { type: 'unsent'; reason: string }
  | { type: 'lost'; reason: string };

/** A supervised gateway. */
export interface RunningGateway {
  readonly status: GatewayStatus;
  /** Newest lines of its log, oldest first: its stderr, and what it wrote to stdout that is no JSON. */
  readonly log: readonly string[];
  /**
   * Sends a request and waits for its answer. Never rejects. Where `signal` aborts before it was
   * sent it is `unsent`, afterwards `lost`.
   */
  request(
    request: Exclude<GatewayRequest, CommandOf<'ping'>>,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RequestOutcome>;
  /** Sends what needs no answer. @returns whether it was taken; it is dropped where the gateway is not ready or is behind. */
  notify(command: Extract<GatewayCommand, { type: 'preview_message' | 'send_typing' }>): boolean;
  /** Ends its process and starts it anew at once, whatever state it is in. */
  restart(): Promise<void>;
  /**
   * Ends its process for good: shutdown, stdin closed, SIGTERM, SIGKILL. No child is left. `withinMs`:
   * when the last of these comes, where that is sooner than by itself.
   */
  stop(options?: { withinMs: number }): Promise<void>;
}

/** Starts gateways. */
export interface GatewayRunner {
  run(spec: GatewaySpec, host: GatewayHost): RunningGateway;
}
