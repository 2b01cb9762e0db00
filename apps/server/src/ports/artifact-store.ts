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
  /** @returns null where there is none. */
  get(id: string): Promise<{ ref: ArtifactRef; path: string } | null>;
}
