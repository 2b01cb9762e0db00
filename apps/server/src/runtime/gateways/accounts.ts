import { DuragentError } from '@duragent/protocol';
import type { ArtifactStore } from '../../ports/artifact-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { GatewaySpec, GatewayStatus } from '../../ports/gateway.ts';
import type { InboxEntry, InboxStore } from '../../ports/inbox.ts';
import type { Logger } from '../logger.ts';
import { type AccountDeps, GatewayAccount } from './account.ts';

/** What a gateway is opened with. */
export interface OpeningDeps {
  clock: Clock;
  log: Logger;
  inboxes: InboxStore;
  artifacts: ArtifactStore;
  /** The folder that a gateway puts files into. */
  mediaDir: (gateway: string) => string;
  /** Makes what a gateway needs before its first start. */
  prepare: (gateway: string) => Promise<void>;
}

interface AccountsOptions {
  /** Aborts when no more are to be opened. */
  signal: AbortSignal;
  accountDeps: () => AccountDeps;
  /** The highest number of a gateway's inbox that any session has: a new inbox goes on from there. */
  highestN: (gateway: string) => number;
  /** Called when gateways have come or gone. */
  onChange: () => void;
}

/** One gateway as it is listed. */
export interface GatewayView extends GatewayStatus {
  name: string;
}

/** Names of the gateways that a reload changed. */
interface ReloadedGateways {
  started: string[];
  stopped: string[];
  restarted: string[];
}

/** All gateways as they are configured: those that run, and those that could not be started. */
export class GatewayAccounts {
  readonly #deps: OpeningDeps;
  readonly #options: AccountsOptions;
  readonly #accounts = new Map<string, GatewayAccount>();
  /** Gateways that could not be started at all, and why. */
  readonly #failed = new Map<string, { spec: GatewaySpec; reason: string; since: string }>();
  /** Changes of the list, one after another. */
  #changing: Promise<void> = Promise.resolve();

  constructor(deps: OpeningDeps, options: AccountsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** One that was opened, by its name. */
  get(gateway: string): GatewayAccount | undefined {
    return this.#accounts.get(gateway);
  }

  /**
   * Starts, stops and restarts exactly the gateways that changed. `isOtherwiseShown`: how replies are
   * shown while they are written has changed. @returns their names.
   */
  async reload(
    specs: readonly GatewaySpec[],
    isOtherwiseShown: boolean,
  ): Promise<ReloadedGateways> {
    const report = { started: [] as string[], stopped: [] as string[], restarted: [] as string[] };
    await this.#change(async () => {
      const wanted = new Map(specs.map((spec) => [spec.name, spec]));
      const ended: Promise<void>[] = [];
      for (const [name, { spec }] of this.#failed) {
        if (JSON.stringify(wanted.get(name)) === JSON.stringify(spec)) continue;
        this.#failed.delete(name);
      }
      for (const [name, account] of this.#accounts) {
        const spec = wanted.get(name);
        // How replies are shown is told to a gateway once, when it starts.
        const isTold = !(isOtherwiseShown && account.link.can('preview'));
        if (spec && isTold && JSON.stringify(spec) === JSON.stringify(account.spec)) {
          wanted.delete(name);
          continue;
        }
        (spec ? report.restarted : report.stopped).push(name);
        this.#accounts.delete(name);
        ended.push(account.close());
      }
      for (const end of await Promise.allSettled(ended)) {
        if (end.status === 'fulfilled') continue;
        this.#deps.log.error({ err: end.reason as unknown }, 'gateway not closed cleanly');
      }
      for (const spec of wanted.values()) {
        if (this.#options.signal.aborted) return;
        if (!report.restarted.includes(spec.name)) report.started.push(spec.name);
        await this.#open(spec);
      }
    });
    return report;
  }

  /** Changes the list, after what is changing it already. */
  async #change(work: () => Promise<void>): Promise<void> {
    const change = this.#changing.then(work);
    this.#changing = change.catch(() => undefined);
    await change;
    this.#options.onChange();
  }

  /** All gateways and how they are. */
  list(): GatewayView[] {
    const running = [...this.#accounts.values()].flatMap((account) => {
      const status = account.running?.status;
      return status ? [{ name: account.spec.name, ...status }] : [];
    });
    const failed = [...this.#failed].map(([name, { reason, since }]) => ({
      name,
      ...NEVER_STARTED,
      reason,
      since,
    }));
    return [...running, ...failed];
  }

  /** Ends a gateway's process and starts it anew. @throws DuragentError not_found. */
  async restart(name: string): Promise<void> {
    const reopen = async (): Promise<void> => {
      const failed = this.#failed.get(name);
      if (failed) await this.#open(failed.spec);
    };
    if (this.#failed.has(name)) await this.#change(reopen);
    else await this.#account(name).running?.restart();
  }

  /** A gateway's newest lines of log. @throws DuragentError not_found. */
  logOf(name: string): readonly string[] {
    return this.#failed.has(name) ? [] : (this.#account(name).running?.log ?? []);
  }

  /** Takes nothing more from the platforms: they keep it. What is being answered goes on. */
  stopIntake(): void {
    for (const account of this.#accounts.values()) account.stopIntake();
  }

  /** Resolves when everything that was taken so far is handed over. */
  async settled(): Promise<void> {
    await Promise.all([...this.#accounts.values()].map((account) => account.settled()));
  }

  /** Ends every gateway, see `RunningGateway.stop`, after what is changing the list already. */
  async close(options?: { withinMs: number }): Promise<void> {
    await this.#changing;
    const accounts = [...this.#accounts.values()];
    this.#accounts.clear();
    await Promise.allSettled(accounts.map((account) => account.close(options)));
  }

  async #open(spec: GatewaySpec): Promise<void> {
    const { log, inboxes, artifacts, mediaDir } = this.#deps;
    this.#failed.delete(spec.name);
    try {
      await this.#deps.prepare(spec.name);
      const opened = await inboxes.open(spec.name, { after: this.#options.highestN(spec.name) });
      // What cannot be removed now is removed at a later start.
      await artifacts
        .sweep(mediaDir(spec.name), opened.unhanded.flatMap(filesOf))
        .catch((error: unknown) => log.warn({ gateway: spec.name, err: error }, 'files not swept'));
      const account = new GatewayAccount(spec, opened, this.#options.accountDeps());
      this.#accounts.set(spec.name, account);
      account.start();
    } catch (error) {
      // The others go on: one damaged inbox is no reason to be silent everywhere.
      log.error({ gateway: spec.name, err: error }, 'gateway not started');
      const reason = error instanceof Error ? error.message : String(error);
      this.#failed.set(spec.name, { spec, reason, since: this.#now() });
    }
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }

  #account(name: string): GatewayAccount {
    const account = this.#accounts.get(name);
    if (account) return account;
    const known = [...this.#accounts.keys()].join(', ');
    throw new DuragentError(
      'not_found',
      `There is no gateway named ${name.slice(0, 63)}. ${known === '' ? 'None is configured (gateways.external).' : `There are: ${known}.`}`,
    );
  }
}

/** What is known of a gateway that has no process. */
const NEVER_STARTED = {
  state: 'fatal',
  pid: null,
  restarts: 0,
  ready: null,
  dropped: 0,
  unknown: 0,
} as const;

function filesOf({ event }: InboxEntry): string[] {
  if (event?.type !== 'message_received') return [];
  return (event.content.media ?? []).map((file) => file.path);
}
