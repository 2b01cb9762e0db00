import type { SessionEvent } from '@duragent/protocol';

type Fresh<T> = T extends SessionEvent ? Omit<T, 'seq' | 'epoch' | 'at'> : never;

/** Events before they are stamped with their seq, epoch and time. */
export type Facts = Fresh<SessionEvent>[];
