import { DuragentError, type ReloadReport } from '@duragent/protocol';
import type { Logger } from './logger.ts';

/** How much of a fault is shown to whoever asks how the server is, in UTF-16 units. */
const MAX_FAULT = 500;

export interface ReloadingDeps<Config> {
  /** What the server was started with. */
  started: Config;
  /** Reads it anew. @throws DuragentError config_invalid. */
  load: () => Promise<Config>;
  compare: (
    next: Config,
    before: { started: Config; applied: Config },
  ) => { live: string[]; restart: string[] };
  /** Makes what can hold at once hold. @returns what was done with the gateways. */
  apply: (next: Config) => Promise<ReloadReport['gateways']>;
  warningsOf: (config: Config) => readonly string[];
  log: Logger;
}

/** Applies new configurations, one at a time; a broken one changes nothing, and is told until a good one comes. */
export class Reloading<Config> {
  readonly #deps: ReloadingDeps<Config>;
  #applied: Config;
  #fault: string | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #waiting: Promise<ReloadReport> | null = null;

  constructor(deps: ReloadingDeps<Config>) {
    this.#deps = deps;
    this.#applied = deps.started;
  }

  /** What holds now, but for what needs a restart. */
  get applied(): Config {
    return this.#applied;
  }

  /** Why the newest configuration does not hold; null: it does. */
  get fault(): string | null {
    return this.#fault;
  }

  /** Those who ask while one is under way share the next. @throws DuragentError as `load`. */
  reload(): Promise<ReloadReport> {
    this.#waiting ??= this.#last.then(() => {
      this.#waiting = null;
      return this.#reload();
    });
    this.#last = this.#waiting.catch(() => undefined);
    return this.#waiting;
  }

  async #reload(): Promise<ReloadReport> {
    const { started, load, compare, apply, warningsOf, log } = this.#deps;
    let next: Config;
    try {
      next = await load();
    } catch (error) {
      if (!(error instanceof DuragentError)) throw error;
      const message = `The new configuration is not applied, and the one before holds on. ${error.message}`;
      this.#fault = message.slice(0, MAX_FAULT).toWellFormed();
      log.error({ code: error.code }, message);
      throw new DuragentError(error.code, message, { cause: error, details: { ...error.details } });
    }
    const { live, restart } = compare(next, { started, applied: this.#applied });
    this.#applied = next;
    const report: ReloadReport = {
      applied: live,
      restart_needed: restart,
      gateways: await apply(next),
      warnings: [...warningsOf(next)],
    };
    this.#fault = null;
    for (const warning of report.warnings) log.warn({}, warning);
    log.info({ applied: live, gateways: report.gateways }, 'configuration reloaded');
    if (restart.length > 0) log.warn({ keys: restart }, 'these keys need a restart of the server');
    return report;
  }
}
