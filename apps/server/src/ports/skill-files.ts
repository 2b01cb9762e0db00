/** Reads the files of skills. What links lead to outside of a skill's folder is not there. */
export interface SkillFiles {
  /**
   * A text file of at most 256 KiB.
   * @param dir absolute path of the skill's folder.
   * @param file SKILL.md, or a path from the folder to what is in `references`, `scripts` or `assets`.
   */
  read(
    dir: string,
    file: string,
  ): Promise<{ ok: true; text: string } | { ok: false; reason: string }>;
  /** What `read` reads besides SKILL.md, by path; at most 200. */
  list(dir: string): Promise<string[]>;
}
