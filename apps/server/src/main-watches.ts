import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import { systemClock } from './adapters/clock/system.ts';
import { FileWatch } from './adapters/config-watch/filesystem.ts';
import { v8Heap } from './adapters/heap/v8.ts';
import type { WorkspaceLock } from './adapters/workspace-lock/filesystem.ts';
import type { Config } from './config/load-config.ts';
import type { Parts } from './main-parts.ts';
import { keepMemorySmall } from './runtime/keep-memory-small.ts';
import { watchUse } from './runtime/lifetime.ts';
import type { Stopping } from './runtime/stopping.ts';

const EPOCH_CHECK_MS = 5_000;
const EPOCH_LOST =
  'Another server has taken over this data directory (EPOCH changed); this one stops writing. Run one server for each directory.';

/** A server whose epoch is no longer in the directory has been replaced: it stops writing. `onOurs`: it has not. */
export function watchEpoch(lock: WorkspaceLock, stopping: Stopping, onOurs: () => void): void {
  systemClock.after(EPOCH_CHECK_MS, () => {
    if (stopping.signal.aborted) return;
    lock.verify().then(
      (isOurs) => {
        if (isOurs) {
          if (!stopping.signal.aborted) onOurs();
          watchEpoch(lock, stopping, onOurs);
        } else stopping.fail(new DuragentError('epoch_lost', EPOCH_LOST));
      },
      (error: unknown) =>
        stopping.fail(new DuragentError('epoch_lost', EPOCH_LOST, { cause: error })),
    );
  });
}

/** Calls `onChange` when the files change that the configuration was read from; null: none are watched. */
export function watchConfig(config: Config, onChange: () => void): FileWatch | null {
  if (config.file === null || !config.reload.enabled) return null;
  const { debounceMs } = config.reload;
  const files = [config.file, path.join(path.dirname(config.file), '.env')];
  return new FileWatch({ files, debounceMs, onChange });
}

/** Calls `onUnused` once nothing has needed the server for so many ms. @returns stops watching. */
export function watchNeed(
  { sessions, schedules }: Parts,
  options: {
    afterMs: number;
    /** Whether it has gateways: whoever writes in a chat finds nobody that would start a server. */
    hasGateways: () => boolean;
    lastUse: () => number;
    onUnused: () => void;
  },
): () => void {
  return watchUse(systemClock, {
    ...options,
    isUsed: () => {
      const { clients, working } = sessions.load;
      const hasSchedules = schedules.list().schedules.some(({ next_run }) => next_run !== null);
      return (
        clients > 0 || working > 0 || sessions.isOwing || options.hasGateways() || hasSchedules
      );
    },
  });
}

/** Keeps its memory near to what it holds. @returns stops watching. */
export function watchHeap({ sessions }: Parts): () => void {
  return keepMemorySmall(systemClock, v8Heap(), () => sessions.load.working);
}
