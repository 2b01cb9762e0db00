/** A file that sessions refer to. */
export interface ArtifactRef {
  /** `art_…`. */
  id: string;
  name: string;
  mime: string;
  /** Bytes. */
  size: number;
  sha256: string;
}

/** Keeps files that people and agents send. */
export interface ArtifactStore {
  /**
   * Takes over a file (moves it, or copies it across file systems). Durable when it resolves.
   * @param from a path below a gateway's media folder; links are not followed.
   * @throws DuragentError `invalid_request` where the file is missing, no plain file, outside of
   *   `root`, or its size or SHA-256 is not what was said; `storage_full`, `storage_failed`.
   */
  take(
    from: { path: string; root: string },
    meta: { id: string; name: string; mime: string; size: number; sha256: string },
  ): Promise<ArtifactRef>;
  /** Removes a file that is not to be kept; one that is gone is no fault. @throws as `take`. */
  discard(from: { path: string; root: string }): Promise<void>;
  /** Removes all plain files directly in a gateway's media folder but those at these paths. */
  sweep(root: string, keep: readonly string[]): Promise<void>;
  /** @returns null where there is none. */
  get(id: string): Promise<{ ref: ArtifactRef; path: string } | null>;
}
