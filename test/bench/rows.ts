import type { Comparison } from './statistics.ts';

/** How often things are done. */
export interface Size {
  /** Pairs of blocks of turns, one session. */
  turnPairs: number;
  pacedPairs: number;
  loadPairs: number;
  /** Turns of each of the 64 sessions in a block. */
  loadTurns: number;
  /** Turns at once and in all before anything counts. */
  warmUpTurns: number;
  startPairs: number;
  firstStartPairs: number;
  memoryPairs: number;
  versionPairs: number;
  recoveryPairs: number;
  /** Pairs of blocks of messages, one gateway. */
  ackPairs: number;
  chatPairs: number;
  /** Messages of each of the 64 chats in a block. */
  chatMessages: number;
  /** Messages to each server before its first pair of those: until V8 has compiled what it will. */
  chatWarmUp: number;
  busyPairs: number;
  gatewayStartPairs: number;
  gatewayMemoryPairs: number;
  /** Pairs of steps of tool calls and as many sandboxes alone. */
  toolPairs: number;
  /** Turns of twenty tool calls. */
  growthPairs: number;
  policyPairs: number;
  mcpPairs: number;
}

export const fullSize: Size = {
  turnPairs: 40,
  pacedPairs: 15,
  loadPairs: 12,
  loadTurns: 8,
  warmUpTurns: 1024,
  startPairs: 20,
  firstStartPairs: 8,
  memoryPairs: 7,
  versionPairs: 25,
  recoveryPairs: 10,
  ackPairs: 40,
  chatPairs: 12,
  chatMessages: 16,
  chatWarmUp: 8192,
  busyPairs: 14,
  gatewayStartPairs: 20,
  gatewayMemoryPairs: 5,
  toolPairs: 16,
  growthPairs: 25,
  policyPairs: 20,
  mcpPairs: 40,
};

export const quickSize: Size = {
  turnPairs: 10,
  pacedPairs: 3,
  loadPairs: 3,
  loadTurns: 4,
  warmUpTurns: 512,
  startPairs: 5,
  firstStartPairs: 2,
  memoryPairs: 2,
  versionPairs: 5,
  recoveryPairs: 3,
  ackPairs: 10,
  chatPairs: 3,
  chatMessages: 8,
  chatWarmUp: 2048,
  busyPairs: 3,
  gatewayStartPairs: 5,
  gatewayMemoryPairs: 2,
  toolPairs: 4,
  growthPairs: 4,
  policyPairs: 5,
  mcpPairs: 10,
};

/** One row of the result. */
export interface Row {
  figure: string;
  /** What it is compared with. */
  against: string;
  unit: string;
  comparison: Comparison;
  /** What the median of the ratios, or of the differences, has to be; none: for information. */
  goal?: Goal | Allowance;
  /** Why, should the goal be missed. */
  whenMissed?: string;
  /** What exactly was measured. */
  meaning: string;
}

export interface Goal {
  /** `at most` this ratio, or `at least`. */
  sense: 'at most' | 'at least';
  ratio: number;
  /** What would be better still. */
  aim?: number;
}

/** What a figure may be above its floor, where a ratio would say nothing. */
export interface Allowance {
  /** At most, in the row's unit. */
  more: number;
  /** So many things share the difference; without it, one. */
  each?: number;
}

/** Whether a ratio is where it should be. */
export function reaches(ratio: number, sense: Goal['sense'], wanted: number): boolean {
  return sense === 'at most' ? ratio <= wanted : ratio >= wanted;
}
