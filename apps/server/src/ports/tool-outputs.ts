/** What tools printed, kept beside the log of their session: more of it than a record holds. */
export interface ToolOutputs {
  /** The file that a call's output goes into; whoever writes it makes its folder. */
  file(session: string, call: string): Promise<string>;
  /** The end of what a call had printed, at most `bytes`; empty where nothing is known. Never throws. */
  tail(session: string, call: string, bytes: number): Promise<string>;
}
