/** The memory of this process, as its collector sees it. */
export interface Heap {
  /** Bytes of memory that the process has, with what is free in it. */
  residentBytes(): number;
  /** The part of the time since it was last asked in which its main thread worked, from 0 to 1. */
  utilization(): number;
  /** Whether memory may be taken to be quicker. What was taken so far stays. */
  preferSpeed(isPreferred: boolean): void;
  /** Collects all garbage and gives free memory back. Nothing else runs meanwhile: 30 to 50 ms for 20 MB. */
  collect(): void;
}
