import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';

/** A record of a log, as its members are written: `seq`, `epoch` and `crc` are added. */
export interface ForgedEvent {
  type: string;
  [member: string]: unknown;
}

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/** A session id that nobody made; different for each number. */
export function forgedId(number: number): string {
  let rest = '';
  for (let value = number; rest.length < 6; value = Math.floor(value / 32)) {
    rest = `${CROCKFORD[value % 32]}${rest}`;
  }
  return `session_01m7z00000${'0'.repeat(10)}${rest}`;
}

/** Lines of a log by the specification, made without any code of the product. */
export function forgeLines(session: string, events: readonly ForgedEvent[]): string[] {
  let crc = 0;
  const seal = (value: object): string => {
    const body = JSON.stringify(value).slice(0, -1);
    crc = crc32(body, crc);
    return `${body},"crc":"${crc.toString(16).padStart(8, '0')}"}`;
  };
  const header = { duragent_log: 1, session, first_seq: 1, prev_crc: '00000000' };
  const at = '2026-01-02T03:04:05.678Z';
  return [
    seal(header),
    ...events.map((event, index) => seal({ seq: index + 1, epoch: 1, at, ...event })),
  ];
}

/** A short conversation, ended by `last`. */
export function forgedConversation(session: string, texts: readonly string[]): ForgedEvent[] {
  return [
    {
      type: 'session_started',
      session,
      agent: 'echo',
      agent_hash: '0123456789abcdef',
      origin: { kind: 'http' },
      labels: {},
    },
    ...texts.map((text, index) => ({
      type: 'user_message',
      message_id: `msg_${session.slice(8, 30)}${String(index).padStart(4, '0')}`,
      source: { kind: 'http' },
      content: [{ type: 'text', text }],
      handling: 'passive',
    })),
  ];
}

/** Writes a session's log, and names the session in `OPEN`. */
export async function plantLog(
  dataDir: string,
  session: string,
  content: Buffer | string,
): Promise<string> {
  const folder = path.join(dataDir, 'sessions', session);
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'events.jsonl'), content);
  await writeFile(path.join(dataDir, 'sessions', 'OPEN'), `${session}\n`, { flag: 'a' });
  return folder;
}
