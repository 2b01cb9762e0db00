import { readdirSync, readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CallHook } from '../../gateways/telegram/simulator/bot-api.ts';
import { firstWordOf } from './answers.ts';

/** A moment that can be told from outside of the product. */
export type Moment =
  | { kind: 'random' }
  /** As the server starts. */
  | { kind: 'start' }
  /** The platform gets a call of the bot, or has carried it out and not answered yet. */
  | {
      kind: 'call';
      of: CallKind;
      phase: 'received' | 'stored';
      /** The call comes to nothing: its sender is gone before it is carried out. */
      isDropped?: boolean;
      /** Up to so much later, in ms. */
      withinMs?: number;
    }
  /** Bytes were written and may not be synced: to the inbox, or as an event of this type to a session's log. */
  | { kind: 'inbox' }
  | { kind: 'log'; type: string };

/** `offset`: a poll that confirms; `post` and `part`: the first and a later part of an answer. */
type CallKind = 'offset' | 'post' | 'part' | 'edit' | 'file';

/** All moments, as often as they are to be tried. */
export const moments: readonly Moment[] = [
  { kind: 'random' },
  { kind: 'random' },
  { kind: 'start' },
  { kind: 'inbox' },
  { kind: 'inbox' },
  ...(['user_message', 'assistant_message', 'preview_posted'] as const).map(logMoment),
  ...(['delivery_started', 'delivery_started', 'delivery_finished'] as const).map(logMoment),
  ...(['offset', 'post', 'part', 'edit'] as const).flatMap((of): Moment[] => [
    { kind: 'call', of, phase: 'received' },
    { kind: 'call', of, phase: 'received', isDropped: true },
    { kind: 'call', of, phase: 'stored' },
    { kind: 'call', of, phase: 'stored', withinMs: 20 },
  ]),
  { kind: 'call', of: 'post', phase: 'stored', withinMs: 300 },
  { kind: 'call', of: 'file', phase: 'stored', withinMs: 10 },
];

function logMoment(type: string): Moment {
  return { kind: 'log', type };
}

/** A moment in words. */
export function nameOf(moment: Moment): string {
  switch (moment.kind) {
    case 'random':
      return 'at random';
    case 'start':
      return 'while it starts';
    case 'inbox':
      return 'inbox.jsonl grew';
    case 'log':
      return `a log grew by ${moment.type}`;
    case 'call': {
      const end = moment.isDropped === true ? ', dropped' : '';
      const later = moment.withinMs === undefined ? '' : ` and ${moment.withinMs} ms`;
      return `${moment.of} ${moment.phase}${end}${later}`;
    }
  }
}

interface Armed {
  moment: Moment;
  act: () => void;
}

/** Sees moments come: at the platform's door, and in the files of a data directory. */
export class Lookout {
  readonly #dataDir: string;
  readonly #random: () => number;
  readonly #kinds = new WeakMap<object, CallKind | 'other'>();
  #armed: Armed | null = null;
  #watchers: FSWatcher[] = [];
  #highestOffset = 0;
  /** Told of the text of every post and edit that was carried out. */
  onShown: (text: string) => void = () => undefined;

  constructor(dataDir: string, random: () => number) {
    this.#dataDir = dataDir;
    this.#random = random;
  }

  /** To be given to the simulator. */
  readonly onCall: CallHook = async (phase, call) => {
    // Both phases of a call are of the same kind.
    const kind = this.#kinds.get(call) ?? this.#kindOf(call);
    this.#kinds.set(call, kind);
    if (phase === 'stored' && kind !== 'offset') this.onShown(JSON.stringify(call.parameters));
    const moment = this.#armed?.moment;
    if (moment?.kind !== 'call' || moment.of !== kind || moment.phase !== phase) return;
    const armed = this.#take();
    if (moment.withinMs !== undefined) {
      // Not waited for: the answer goes out meanwhile.
      void delay(this.#random() * moment.withinMs).then(() => armed?.act());
      return;
    }
    armed?.act();
    // The simulator sees in this time that its client has gone.
    if (moment.isDropped === true) await delay(10);
  };

  /** Does something when a moment comes, once. */
  arm(moment: Moment, act: () => void): void {
    this.disarm();
    this.#armed = { moment, act };
    if (moment.kind === 'inbox') this.#watchInbox();
    if (moment.kind === 'log') this.#watchLogs(moment.type);
  }

  disarm(): void {
    this.#armed = null;
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #take(): Armed | null {
    const armed = this.#armed;
    this.disarm();
    return armed;
  }

  #kindOf({ method, parameters }: Parameters<CallHook>[1]): CallKind | 'other' {
    switch (method) {
      case 'getUpdates': {
        const offset = Number(parameters['offset'] ?? 0);
        if (offset <= this.#highestOffset) return 'other';
        this.#highestOffset = offset;
        return 'offset';
      }
      case 'sendMessage':
      case 'sendRichMessage':
      case 'sendDocument':
        return firstWordOf(JSON.stringify(parameters)) > 0 ? 'part' : 'post';
      case 'editMessageText':
        return 'edit';
      case 'getFile':
        return 'file';
      default:
        return 'other';
    }
  }

  #watchInbox(): void {
    const file = path.join(this.#dataDir, 'gateways', 'telegram', 'inbox.jsonl');
    this.#watch(file, () => this.#take()?.act());
  }

  #watchLogs(type: string): void {
    const folder = path.join(this.#dataDir, 'sessions');
    for (const name of namesIn(folder)) {
      const file = path.join(folder, name, 'events.jsonl');
      const sizeBefore = sizeOf(file);
      this.#watch(file, () => {
        const added = readFileSync(file).subarray(sizeBefore).toString();
        if (added.includes(`"type":"${type}"`)) this.#take()?.act();
      });
    }
  }

  #watch(file: string, onChange: () => void): void {
    try {
      const watcher = watch(file, () => {
        if (this.#watchers.includes(watcher)) onChange();
      });
      watcher.on('error', () => undefined);
      this.#watchers.push(watcher);
    } catch {
      // Not made yet: then this moment does not come.
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.startsWith('session_'));
  } catch {
    return [];
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
