import type { RouterContext } from '@koa/router';
import type Koa from 'koa';
import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { ModelRef } from '../core/agent.ts';
import type { ReloadReport } from '@duragent/protocol';
import type { Clock } from '../ports/clock.ts';
import type { AnswerTracker } from '../runtime/answer-tracker.ts';
import type { ConsentDesk } from '../runtime/consent-desk.ts';
import type { GatewayHub } from '../runtime/gateways/hub.ts';
import type { PairingDesk } from '../runtime/gateways/pairing-desk.ts';
import type { OutboxView } from '../runtime/outbox-view.ts';
import type { ScheduleDesk } from '../runtime/scheduler/schedule-desk.ts';
import type { SessionActor } from '../runtime/session-actor.ts';
import type { SessionRegistry } from '../runtime/session-registry.ts';
import type { AuthSettings } from './auth.ts';
import type { HostRules } from './host-check.ts';
import type { RequestScope } from './request-scope.ts';

export interface HttpState {
  scope: RequestScope;
}
export type HttpContext = Koa.ParameterizedContext<HttpState>;
export type RouteContext = RouterContext<HttpState>;

/** As much of pino as is used here. */
export interface HttpLogger {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What the routes use of an open session. */
export interface OpenSession extends Pick<
  SessionActor,
  | 'session'
  | 'view'
  | 'receive'
  | 'cancel'
  | 'pause'
  | 'resume'
  | 'answer'
  | 'read'
  | 'lastSeq'
  | 'subscribe'
> {
  track(...message: Parameters<SessionActor['track']>): Pick<AnswerTracker, 'see'>;
}

/** What the routes use of the registry. */
export interface Sessions extends Pick<SessionRegistry, 'view' | 'list' | 'end' | 'purge'> {
  create(...request: Parameters<SessionRegistry['create']>): Promise<OpenSession>;
  open(session: string): Promise<OpenSession>;
}

/** What the routes use of the gateways. */
export interface Gateways extends Pick<
  GatewayHub,
  'list' | 'restart' | 'logOf' | 'sessionOf' | 'welcome'
> {
  readonly pairing: Pick<PairingDesk, 'approve' | 'revoke' | 'book'>;
}

/** All that the HTTP API is made of; `serve` fills it in. */
export interface HttpDeps {
  sessions: Sessions;
  agents: AgentCatalog;
  gateways: Gateways;
  outbox: Pick<OutboxView, 'list' | 'retry' | 'drop'>;
  schedules: Pick<ScheduleDesk, 'list' | 'show' | 'create' | 'remove' | 'run'>;
  consent: Pick<ConsentDesk, 'approvals' | 'questions' | 'decide' | 'answer'>;
  /** Reads the configuration anew. @throws DuragentError config_invalid; what held goes on to hold. */
  reload: () => Promise<ReloadReport>;
  models: {
    /** `<provider>/<name>` of what a call with this model would go to now. */
    describe(model: ModelRef): string | Promise<string>;
  };
  auth: AuthSettings & {
    /** false: `/api/v1/admin/*` does not exist. */
    adminEnabled: boolean;
  };
  hosts: HostRules;
  version: {
    version: string;
    commit: string;
    build_hash: string;
    started_at: string;
    node: string;
  };
  /** The first 16 hex digits of the SHA-256 of the data directory's real path. */
  workspace: string;
  instance: string;
  /** `reason`: why it is not ready, or what is wrong although it is. */
  ready: () => { ready: boolean; reason?: string | undefined };
  limits: {
    /** Streams and long polls do not know it. */
    requestTimeoutMs: number;
    /** Between two comments on a stream. */
    keepAliveIntervalMs: number;
  };
  /** Called once its request has been answered. */
  onShutdown: () => void;
  logger: HttpLogger;
  /** The agent of sessions that name none; null: the registry decides. */
  defaultAgent: () => string | null;
  clock: Clock;
}
