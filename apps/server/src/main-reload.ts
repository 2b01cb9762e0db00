import { DuragentError, type ReloadReport } from '@duragent/protocol';
import type { Config } from './config/load-config.ts';
import type { Reloading } from './runtime/reloading.ts';
import type { Stopping } from './runtime/stopping.ts';

/** Those who ask for the configuration to be read anew: the Admin API, SIGHUP, and its files when they change. */
export class ReloadRequests {
  /** Whether the server has started, and does not stop yet: there is something to apply it to. */
  isReady = false;
  readonly #reloading: Reloading<Config>;
  readonly #stopping: Stopping;
  #isAsked = false;

  constructor(reloading: Reloading<Config>, stopping: Stopping) {
    this.#reloading = reloading;
    this.#stopping = stopping;
  }

  /** @throws DuragentError draining, conflict while it starts, config_invalid. */
  readonly reload = async (): Promise<ReloadReport> => {
    if (this.#stopping.signal.aborted)
      throw new DuragentError('draining', 'The server is stopping.');
    if (!this.isReady) throw new DuragentError('conflict', 'The server is starting; try again.');
    return await this.#reloading.reload();
  };

  /** Takes a request that nobody waits for; one that comes while the server starts waits for `catchUp`. */
  readonly ask = (): void => {
    if (!this.isReady) this.#isAsked = true;
    // Why it failed has been logged.
    else this.reload().catch(() => undefined);
  };

  /** Does what was asked for while the server started. */
  catchUp(): void {
    if (this.#isAsked) this.ask();
  }
}
