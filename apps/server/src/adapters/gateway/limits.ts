/** The numbers of a gateway's supervision. Times in ms. */
export interface GatewayProcessLimits {
  /** From its start until `ready`. */
  readyMs: number;
  pingEveryMs: number;
  /** How long the answer of a ping may take; then it is asked once more, and then replaced. */
  pingAnswerMs: number;
  /** How long it may say that it does not reach its platform. */
  disconnectedMs: number;
  /** From `shutdown` and the end of its stdin until SIGTERM. */
  endMs: number;
  /** From SIGTERM until SIGKILL. */
  termMs: number;
  /** How long it may go on after it has closed its stdin or stdout. */
  closedStreamMs: number;
  /** How long nothing may come, after its exit, from a pipe that something else holds open. */
  drainIdleMs: number;
  /** The longest time from its exit until what it wrote was taken. */
  drainMs: number;
  /** The longest pause before the first restart; it doubles with each. */
  backoffMs: number;
  maxBackoffMs: number;
  /** More restarts than these within `restartWindowMs`, and it is only tried every `degradedMs`. */
  maxRestarts: number;
  restartWindowMs: number;
  degradedMs: number;
  /** How long it has to work for what was before to be forgotten. */
  healthyMs: number;
  /** How often one is tried whose fault does not go away by itself. */
  probeMs: number;
  /** Events that are not yet durable; then reading pauses until half of it. */
  maxPendingEvents: number;
  maxPendingBytes: number;
  /** Commands that it has not read; then it counts as hung. A quarter of it, and what needs no answer is dropped. */
  maxUnreadCommands: number;
  maxUnreadBytes: number;
  /** More lines than these that are no valid events, within `invalidWindowMs`, and it is restarted. */
  maxInvalidLines: number;
  invalidWindowMs: number;
  /** How often one kind of dropped line is reported. */
  reportEveryMs: number;
  /** Lines of its log that are repeated in the server's, within `echoWindowMs`. */
  maxEchoedLines: number;
  echoWindowMs: number;
  /** Lines that its log keeps, and bytes of each. */
  logLines: number;
  logLineBytes: number;
}

export const defaultLimits: GatewayProcessLimits = {
  readyMs: 10_000,
  pingEveryMs: 15_000,
  // 15 s + twice this + the 5 s of the end: one that hangs is gone after 30 s.
  pingAnswerMs: 5_000,
  disconnectedMs: 120_000,
  endMs: 2_000,
  termMs: 3_000,
  closedStreamMs: 500,
  drainIdleMs: 1_000,
  drainMs: 30_000,
  backoffMs: 500,
  maxBackoffMs: 60_000,
  maxRestarts: 5,
  restartWindowMs: 60_000,
  degradedMs: 300_000,
  healthyMs: 300_000,
  probeMs: 600_000,
  maxPendingEvents: 64,
  maxPendingBytes: 8 * 1024 * 1024,
  maxUnreadCommands: 256,
  maxUnreadBytes: 1024 * 1024,
  maxInvalidLines: 20,
  invalidWindowMs: 10_000,
  reportEveryMs: 60_000,
  maxEchoedLines: 20,
  echoWindowMs: 10_000,
  logLines: 500,
  logLineBytes: 2048,
};
