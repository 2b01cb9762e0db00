import { DEFAULT_LIMITS, type GatewayCapability, type GatewayLimits } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type { GatewayStatus, RunningGateway } from '../../ports/gateway.ts';
import { WakeList } from './wake-list.ts';

/** After so long without its gateway a chat no longer counts as attached, in ms. */
const PRESENT_MS = 30_000;

/** One gateway as the rest of the server sees it: whether it is ready, what it can, and how to speak to it. */
export class GatewayLink {
  readonly name: string;
  readonly #clock: Clock;
  readonly #onPresence: () => void;
  #running: RunningGateway | null = null;
  #limits: GatewayLimits;
  #isReady = false;
  #life = 0;
  #isPresent = false;
  #cancelAbsence: () => void = () => undefined;
  /** Wakes whoever waits for it when its status has changed. */
  readonly changes = new WakeList();

  /** `onPresence` is called when its chats begin or cease to count as attached. */
  constructor(options: {
    name: string;
    clock: Clock;
    limits: GatewayLimits | null;
    onPresence: () => void;
  }) {
    this.name = options.name;
    this.#clock = options.clock;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#onPresence = options.onPresence;
  }

  get limits(): GatewayLimits {
    return this.#limits;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Rises each time it becomes ready: what one process knew, the next one does not. */
  get life(): number {
    return this.#life;
  }

  get isPresent(): boolean {
    return this.#isPresent;
  }

  get status(): GatewayStatus | null {
    return this.#running?.status ?? null;
  }

  get running(): RunningGateway | null {
    return this.#running;
  }

  /** The bot's name on the platform, without `@`. */
  get username(): string | undefined {
    return this.#running?.status.ready?.identity?.username?.replace(/^@/, '');
  }

  can(capability: GatewayCapability): boolean {
    return this.#running?.status.ready?.capabilities.includes(capability) ?? false;
  }

  use(running: RunningGateway): void {
    this.#running = running;
    this.changed(running.status);
  }

  /** Takes its new status. @returns its limits, where it announced new ones. */
  changed(status: GatewayStatus): GatewayLimits | null {
    const wasReady = this.#isReady;
    this.#isReady = status.state === 'ready';
    const announced = this.#isReady ? status.ready?.limits : undefined;
    if (announced) this.#limits = announced;
    if (this.#isReady && !wasReady) this.#life += 1;
    if (this.#isReady !== wasReady) this.#updatePresence();
    this.changes.wake();
    return announced ?? null;
  }

  close(): void {
    this.#cancelAbsence();
    this.#running = null;
    this.#isReady = false;
    this.changes.wake();
  }

  #updatePresence(): void {
    this.#cancelAbsence();
    const set = (isPresent: boolean): void => {
      if (this.#isPresent === isPresent) return;
      this.#isPresent = isPresent;
      this.#onPresence();
    };
    if (this.#isReady) set(true);
    else this.#cancelAbsence = this.#clock.after(PRESENT_MS, () => set(false));
  }
}
