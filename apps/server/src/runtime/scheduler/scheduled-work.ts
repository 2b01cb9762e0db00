import type { Schedule } from '@duragent/protocol';

/** One run, as it is handed over. */
export interface ScheduledRun {
  schedule: Schedule;
  /** ISO instant that it was planned for. */
  planned: string;
  /** The same whenever this run is handed over again: whoever takes it, takes it once. */
  identity: string;
}

/** Where a run went. */
export interface RunResult {
  session?: string;
  turn?: string;
  /** The session was busy and left it out, as its queue mode says. */
  dropped?: boolean;
}

export type Chat = NonNullable<Schedule['deliver']>[number];

/** What takes runs. Each call is idempotent by `identity`, durable when resolved, and ends soon after the signal aborts. */
export interface ScheduledWork {
  /** Gives a text to an agent as a turn. `deliver`: chats that get the answer; null: those of the session. */
  submitTask(
    task: {
      schedule: string;
      agent: string;
      target: Schedule['target'];
      deliver: readonly Chat[] | null;
      text: string;
      identity: string;
      planned: string;
    },
    options: { signal: AbortSignal },
  ): Promise<{ session: string; turn?: string; dropped?: boolean }>;
  /** Sends a text to chats as it is. `chats` null: those of the target's session. */
  sendMessage(
    message: {
      schedule: string;
      agent: string;
      target: Schedule['target'];
      chats: readonly Chat[] | null;
      text: string;
      identity: string;
      planned: string;
    },
    options: { signal: AbortSignal },
  ): Promise<{ session?: string }>;
}

/** Hands a run over to what takes it. */
export function handOver(
  work: ScheduledWork,
  { identity, planned, schedule }: ScheduledRun,
  options: { signal: AbortSignal },
): Promise<RunResult> {
  const { agent, deliver = null, id, payload, target } = schedule;
  const common = { schedule: id, agent, target, text: payload.text, identity, planned };
  return payload.kind === 'task'
    ? work.submitTask({ ...common, deliver }, options)
    : work.sendMessage({ ...common, chats: deliver }, options);
}
