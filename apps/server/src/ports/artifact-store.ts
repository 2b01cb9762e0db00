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

/** Which agent made a file, and in which session. */
export interface ArtifactOwner {
  agent: string;
  session: string;
}

/** How long a file that an agent makes may be, in bytes. */
export const MAX_MADE_ARTIFACT_BYTES = 64 * 1024 * 1024;

/**
 * Reads a file of the workspace, for an agent: a plain file below it, that no link leads to and that
 * agents may read.
 * @param path relative to the workspace, or absolute.
 */
export type ReadWorkspaceFile = (
  path: string,
  options: { maxBytes: number },
) => Promise<{ ok: true; bytes: Uint8Array } | { ok: false; reason: string }>;

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
  /**
   * Keeps a file that an agent made. Durable when it resolves; the same content under the same id
   * is harmless.
   * @throws DuragentError `invalid_request` where the id stands for another file, or `meta` is not
   *   valid; `payload_too_large` beyond `MAX_MADE_ARTIFACT_BYTES`; `storage_full`,
   *   `storage_failed`; and what `content` throws. Then nothing is kept.
   */
  put(
    content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    meta: { id: string; name: string; mime: string; owner: ArtifactOwner },
  ): Promise<ArtifactRef>;
  /** @returns null where there is none. `owner` is absent where it came through a gateway. */
  get(id: string): Promise<{ ref: ArtifactRef; path: string; owner?: ArtifactOwner } | null>;
  /** @returns at most `length` bytes of a file from `offset` on; null where there is none. */
  read(id: string, offset: number, length: number): Promise<Uint8Array | null>;
  /** What agents made in a session, newest first. One that is damaged is not in it. */
  list(session: string, limit: number): Promise<ArtifactRef[]>;
}
