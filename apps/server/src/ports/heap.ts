/** The memory of this process, as its collector sees it. */
export interface Heap {
  /** Bytes of memory that the process has, with what is free in it. */
  residentBytes(): number;
  /** The part of the time since it was last asked in which its main thread worked, from 0 to 1. */
  utilization(): number;
  /** Whether the young generation may grow while much in it survives. What it has grown to stays. */
  letYoungGrow(mayGrow: boolean): void;
  /** Collects all garbage and gives free memory back. Nothing else runs meanwhile: 30 to 50 ms for 20 MB. */
  collect(): void;
}
