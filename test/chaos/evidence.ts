import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createHash } from 'node:crypto';
import type { OutboxEntry, OutboxPage } from '@duragent/protocol';
import type { TelegramControl } from '../../gateways/telegram/simulator/control.ts';
import type { ShownMessage } from '../../gateways/telegram/simulator/control/sight.ts';
import type { CausedUpdate } from '../../gateways/telegram/simulator/control/witness.ts';
import type { Api } from '../support/api.ts';
import { eventsOf, type LogReading, readAllLogs } from '../support/session-log.ts';
import type { GivenAnswer } from './answers.ts';
import type { Said } from './crowd.ts';

/** Everything that can be known from outside, at one moment of rest. */
export interface Evidence {
  said: readonly Said[];
  /** The answers that the model gave, also those that were cut. */
  given: readonly GivenAnswer[];
  updates: readonly CausedUpdate[];
  /** All that all chats show. */
  messages: readonly ShownMessage[];
  logs: readonly LogReading[];
  /** A log that could not be read, or is not as it has to be. */
  damage: string | null;
  outbox: readonly OutboxEntry[];
  /** SHA-256 of the kept files, by their ids. */
  files: ReadonlyMap<string, string>;
}

export async function gatherEvidence(from: {
  control: TelegramControl;
  said: readonly Said[];
  given: readonly GivenAnswer[];
  dataDir: string;
  api: Api | null;
}): Promise<Evidence> {
  const { control, said, given, dataDir, api } = from;
  let logs: LogReading[] = [];
  let damage: string | null = null;
  try {
    logs = await readAllLogs(dataDir);
  } catch (error) {
    damage = error instanceof Error ? error.message : String(error);
  }
  const { updates, messages } = control.snapshot();
  const outbox = api === null ? [] : await outboxOf(api);
  const files = await filesOf(path.join(dataDir, 'artifacts'), logs);
  return { said: [...said], given: [...given], updates, messages, logs, damage, outbox, files };
}

/** As `duragent outbox list` shows it. */
export async function outboxOf(api: Api): Promise<OutboxEntry[]> {
  const { status, text, body } = await api.get<OutboxPage>('/admin/outbox?limit=1000');
  if (status !== 200) throw new Error(`no outbox: ${status} ${text}`);
  const [unreadable] = body.unreadable;
  if (unreadable !== undefined) throw new Error(`unreadable: ${JSON.stringify(unreadable)}`);
  return body.deliveries;
}

async function filesOf(
  folder: string,
  logs: readonly LogReading[],
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const { events } of logs) {
    for (const { content } of eventsOf(events, 'user_message')) {
      for (const part of content) {
        if (part.type !== 'file') continue;
        const data = await readFile(path.join(folder, part.artifact, 'data')).catch(() => null);
        if (data === null) continue;
        files.set(part.artifact, createHash('sha256').update(data).digest('hex'));
      }
    }
  }
  return files;
}
