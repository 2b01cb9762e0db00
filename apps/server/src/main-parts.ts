import type { DuragentError } from '@duragent/protocol';
import { systemClock } from './adapters/clock/system.ts';
import type { Config } from './config/load-config.ts';
import { openGateways } from './main-gateways.ts';
import { lazyTools, processOver } from './main-lazy-tools.ts';
import type { LiveSettings } from './main-live-settings.ts';
import { openModels } from './main-models.ts';
import { openSessions } from './main-sessions.ts';
import { openStorage } from './main-storage.ts';
import type { ToolParts } from './main-tools.ts';
import { openWebhooks } from './main-webhooks.ts';
import { ConsentDesk } from './runtime/consent-desk.ts';
import { OutboxView } from './runtime/outbox-view.ts';
import { handOver } from './runtime/scheduler/scheduled-work.ts';
import { ScheduleDesk } from './runtime/scheduler/schedule-desk.ts';
import { Scheduler } from './runtime/scheduler/scheduler.ts';
import { sessionWork } from './runtime/scheduler/session-work.ts';
import type { SessionRegistry } from './runtime/session-registry.ts';
import type { Stopping } from './runtime/stopping.ts';
import { withWebhooks } from './runtime/webhooks/with-webhooks.ts';

/** What a server is made of, its door apart. */
export type Parts = Awaited<ReturnType<typeof openParts>>;

/** Makes the parts of a server and ties them together; none is started yet. */
export async function openParts(
  config: Config,
  deps: {
    log: ToolParts['log'];
    epoch: number;
    live: LiveSettings;
    stopping: Stopping;
    /** The agent of sessions that name none, as the configuration says now. */
    defaultAgent: () => string | null;
  },
) {
  const { log, live, stopping, defaultAgent } = deps;
  const onSyncFailure = (error: DuragentError): void => stopping.fail(error);
  const storage = await openStorage(config, { log, live, onSyncFailure });
  const { agents, artifacts, outputs } = storage;
  const models = openModels(config);
  const hub = openGateways(config, { log, storage, onSyncFailure });
  const webhooks = openWebhooks(config, log);
  const timezone = (): string =>
    config.timezone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const gateways = (): string[] => hub.list().map(({ name }) => name);
  const tools = lazyTools(config.dataDir, () => ({
    config,
    clock: systemClock,
    log,
    outputs,
    artifacts,
    sessions: () => sessions,
    schedules: {
      desk: schedules,
      timezone,
    },
    chatsOf: (session) =>
      sessions.opened(session)?.heardIn ??
      sessions.summary(session).chats.filter(({ bound }) => bound),
    gateways,
    webhooks: () => webhooks.names,
  }));
  const sessions: SessionRegistry = openSessions(config, {
    ...deps,
    storage,
    models,
    tools,
    chats: withWebhooks(hub, webhooks),
  });
  const consent = new ConsentDesk({
    sessions,
    agents,
    allowAlways: async (agent, rule) => (await tools.open()).policies.allowAlways(agent, rule),
    log,
  });
  const scheduler = new Scheduler({
    store: storage.schedules,
    clock: systemClock,
    log,
    isProcessOver: processOver(tools, log),
    run: (run, options) =>
      handOver(
        sessionWork(() => sessions),
        run,
        options,
      ),
  });
  const schedules: ScheduleDesk = new ScheduleDesk({
    scheduler,
    agents,
    clock: systemClock,
    timezone,
    defaultAgent,
    gateways,
    process: async (id) => (await tools.open()).process(id),
  });
  const outbox = new OutboxView(sessions);
  stopping.onFailure = (why) => {
    sessions.abandon(why);
    void hub.close();
  };
  return { storage, models, hub, webhooks, tools, sessions, consent, scheduler, schedules, outbox };
}
