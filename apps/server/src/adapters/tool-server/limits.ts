/** The numbers of a server of tools. Times in ms. */
export interface ToolServerLimits {
  /** From its start until it has answered the handshake. */
  handshakeMs: number;
  /** For the list of its tools, all pages. */
  listMs: number;
  callMs: number;
  /** A call that reports progress may take this many times as long, in all. */
  progressFactor: number;
  /** Without calls for so long, it is ended. */
  idleMs: number;
  /** From the end of its stdin until SIGTERM, and from there until SIGKILL. */
  endMs: number;
  termMs: number;
  /** How long what it wrote may still come after its exit. */
  drainMs: number;
  /** Pauses after it ended by itself: none, this, and twice as long each time. */
  backoffMs: number;
  maxBackoffMs: number;
  /** The shortest pause after it could not be started: each try may take the whole handshake. */
  startBackoffMs: number;
  /** More starts than these within a minute wait for the minute to end. */
  maxStartsPerMinute: number;
  /** How long it has to work for what was before to be forgotten. */
  healthyMs: number;
  /** The longest message, and how deep it is nested. Pictures come as one line of base64. */
  maxMessageBytes: number;
  maxMessageDepth: number;
  /** What it has not read yet; beyond it, it counts as hung. */
  maxUnreadBytes: number;
  /** Messages and bytes that answer nothing, within `noiseWindowMs`; beyond them, it is ended. */
  maxNoiseLines: number;
  maxNoiseBytes: number;
  noiseWindowMs: number;
  /** Calls at once. */
  maxCalls: number;
  maxTools: number;
  /** Names, descriptions and schemas of all its tools, as JSON. */
  maxToolBytes: number;
  maxListPages: number;
  maxResultBytes: number;
  /** Lines of its log that are repeated in the server's, within `echoWindowMs`. */
  maxEchoedLines: number;
  echoWindowMs: number;
  /** The newest lines of its log, kept for the message about its end, and bytes of each. */
  tailLines: number;
  logLineBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const defaultLimits: ToolServerLimits = {
  handshakeMs: 10_000,
  listMs: 10_000,
  callMs: 120_000,
  progressFactor: 5,
  idleMs: 600_000,
  endMs: 2_000,
  termMs: 3_000,
  drainMs: 1_000,
  backoffMs: 500,
  maxBackoffMs: 60_000,
  startBackoffMs: 15_000,
  maxStartsPerMinute: 5,
  healthyMs: 60_000,
  maxMessageBytes: 8 * MIB,
  maxMessageDepth: 64,
  maxUnreadBytes: 4 * MIB,
  maxNoiseLines: 20_000,
  maxNoiseBytes: 64 * MIB,
  noiseWindowMs: 10_000,
  maxCalls: 32,
  maxTools: 128,
  maxToolBytes: 256 * KIB,
  maxListPages: 64,
  maxResultBytes: MIB,
  maxEchoedLines: 20,
  echoWindowMs: 10_000,
  tailLines: 10,
  logLineBytes: 500,
};
