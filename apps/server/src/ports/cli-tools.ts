/** A program that agents may call as a tool, as it lies on the disk. */
export interface CliProgram {
  /** Absolute and resolved: no part of it is a link. */
  path: string;
  /** The folder that it may read, wherever it lies; absolute and resolved. */
  folder: string;
  /** Its README; null: there is none. */
  readme: { file: string; text: string } | null;
  /** The `schema.json` beside it; null: there is none. */
  schema: { file: string; text: string } | null;
  /** Changes whenever the program, its README or its schema is changed. */
  stamp: string;
}

export type CliReading =
  | { ok: true; program: CliProgram }
  /** Why it is no tool, and which file is to be mended. */
  | { ok: false; file: string; reason: string };

/** Finds the programs of command line tools. Links that lead out of a tool's folder are not followed. */
export interface CliToolFiles {
  /**
   * The tools in a folder: each folder of it with an executable `run*`, by name, at most 64.
   * Where there is no such folder there are none. `fresh`: as it is now; else as it was at most a
   * second ago. Never rejects.
   */
  find(
    folder: string,
    options?: { fresh?: boolean },
  ): Promise<{ name: string; reading: CliReading }[]>;
  /**
   * A program that an agent names, with its README. `options` as above. Never rejects.
   * @param home absolute path of the agent's folder, out of which nothing may lead.
   * @param command relative to it.
   * @param readme relative to it; null: the README.md beside the program, if there is one.
   */
  read(
    home: string,
    command: string,
    readme: string | null,
    options?: { fresh?: boolean },
  ): Promise<CliReading>;
}

/** The most tools that one folder may hold. */
export const MAX_FOUND_TOOLS = 64;
