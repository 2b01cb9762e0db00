import type { CommandOf, GatewayRequest } from '../gateway/command.ts';
import type { GatewayEvent, InboundEvent } from '../gateway/event.ts';
import type { GatewayReady } from '../gateway/handshake.ts';
import type { GatewayErrorCode } from '../gateway/messages.ts';

/** What a gateway sends with. */
export interface GatewayLink {
  /**
   * Sends an event that a person caused; `event_id` is needed. Resolves when the server made it
   * durable (`ack`): only then the platform is told. Rejects when the link ends first, and where
   * the event does not fit the protocol or 16 MiB wait to be read. Waits until the gateway is `ready`.
   */
  deliver(event: InboundEvent): Promise<void>;
  /**
   * Sends any other event, behind `ready` where it has to be. An `error` that is `fatal` ends the
   * gateway with exit code 1. Without effect once the link has ended.
   * @throws TypeError or RangeError when the event does not fit the protocol.
   */
  send(event: Exclude<GatewayEvent, InboundEvent>): void;
  /** Aborted when the gateway has to end. */
  readonly signal: AbortSignal;
}

/** What a request is answered with, without its id. */
export type AnswerBody =
  | { type: 'command_ok'; message_id?: string }
  | {
      type: 'command_error';
      code: GatewayErrorCode;
      message: string;
      retry_after_ms?: number;
      uncertain?: boolean;
    }
  | { type: 'message_found'; message_id: string }
  | { type: 'message_not_found' };

/** What a gateway does. */
export interface GatewayHandlers {
  /**
   * Called once with `configure`; resolves when connected to the platform; what it gives is
   * announced as `ready`. @throws GatewayFatalError for `unauthorized`, `conflict` and a config
   * that cannot be used: reported as fatal, exit code 1. Any other error ends it too, and the
   * server starts it again.
   */
  configure(
    command: CommandOf<'configure'>,
    link: GatewayLink,
  ): Promise<Omit<GatewayReady, 'type' | 'protocol'>>;
  /**
   * Does a request; up to 256 run at once. What it throws is answered as `platform_error`,
   * `uncertain`. `signal` aborts when the time to end is over.
   */
  request(
    request: Exclude<GatewayRequest, CommandOf<'ping'>>,
    options: { signal: AbortSignal },
  ): Promise<AnswerBody>;
  /** Does what is not answered. What it throws goes to the log. */
  notify(command: CommandOf<'preview_message' | 'send_typing'>): void;
  /** Whether it reaches its platform. */
  connected(): boolean;
  /**
   * Ends within `deadlineMs`. Called once, behind the abort of the link's signal and unless
   * `configure` was never called or has thrown. Requests that are open still have their answers sent.
   */
  shutdown(options: { deadlineMs: number }): Promise<void>;
}

/** What keeps a gateway from working until a person changes something. */
export class GatewayFatalError extends Error {
  /** Such as `unauthorized`, `conflict` or `invalid_config`. */
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GatewayFatalError';
    this.code = code;
  }
}
