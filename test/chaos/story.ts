import type { SessionEvent } from '@duragent/protocol';
import type { CampaignReport, Kill } from './campaign.ts';
import { type Finding, placeOf } from './judge.ts';

const MAX_FINDINGS = 5;
/** How much of a chat and of a log is told before and after a finding: time in ms, and lines. */
const AROUND_MS = 5_000;
const MAX_LINES = 60;

/** A campaign in words: what was found, with the chats and logs around it. */
export function tellStory({ seed, report }: { seed: number; report: CampaignReport }): string {
  const { findings, kills, counts, elapsedMs, folder } = report;
  const numbers = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const lines = [
    `seed ${seed}: ${numbers.join(', ')}; ${Math.round(elapsedMs / 1000)} s`,
    findings.length === 0
      ? 'Nothing was found.'
      : `${findings.length} findings; files in ${folder}`,
  ];
  for (const finding of findings.slice(0, MAX_FINDINGS)) {
    lines.push(
      '',
      `* ${finding.what}`,
      ...around(finding, report, kills).map((line) => `    ${line}`),
    );
  }
  if (findings.length > MAX_FINDINGS) {
    lines.push('', ...findings.slice(MAX_FINDINGS).map(({ what }) => `* ${what}`));
  }
  return lines.join('\n');
}

/** Kills, what the chat shows, and what the log says, by time. */
function around(finding: Finding, { evidence }: CampaignReport, kills: readonly Kill[]): string[] {
  const { chat } = finding;
  const told: { at: number; text: string }[] = kills.map(({ n, at, victim, moment }) => {
    return { at, text: `-- kill ${n}: ${victim}, ${moment}` };
  });
  const session =
    finding.session ??
    sessionOf(
      chat,
      evidence.logs.map(({ events }) => events),
    );
  for (const { session: name, events } of evidence.logs) {
    if (name !== session) continue;
    for (const event of events) told.push({ at: Date.parse(event.at), text: eventLine(event) });
  }
  for (const message of evidence.messages) {
    const place = placeOf({ ...message, thread_id: message.thread_id ?? undefined });
    if (place !== chat) continue;
    const who = message.is_from_bot ? 'bot' : 'person';
    for (const [index, { at, text }] of message.history.entries()) {
      const verb = index === 0 ? 'posts' : 'edits';
      told.push({ at, text: `${who} ${verb} ${message.message_id}: ${brief(text)}` });
    }
  }
  return told
    .toSorted((a, b) => Math.abs(a.at - finding.at) - Math.abs(b.at - finding.at))
    .slice(0, MAX_LINES)
    .filter(({ at }) => Math.abs(at - finding.at) < AROUND_MS)
    .toSorted((a, b) => a.at - b.at)
    .map(({ at, text }) => `${new Date(at).toISOString().slice(11, 23)} ${text}`);
}

function sessionOf(chat: string | null, logs: readonly SessionEvent[][]): string | null {
  for (const events of logs) {
    for (const event of events) {
      if (event.type === 'chat_bound' && placeOf(event) === chat) {
        const [first] = events;
        return first?.type === 'session_started' ? first.session : null;
      }
    }
  }
  return null;
}

function eventLine(event: SessionEvent): string {
  const { seq, epoch, at: _, type, ...rest } = event;
  return `log ${seq} (epoch ${epoch}) ${type} ${brief(JSON.stringify(rest))}`;
}

function brief(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length <= 160 ? line : `${line.slice(0, 90)} … ${line.slice(-60)}`;
}
