import type { SessionEvent } from '@duragent/protocol';
import type { ToolCampaignReport } from './tools-campaign.ts';
import type { ToolFinding } from './tools-judge.ts';

const MAX_FINDINGS = 5;
/** How many events of a log are told before and after those of a finding's call. */
const AROUND = 4;
const MAX_LINES = 40;

/** A campaign against tools in words: what was found, with the logs around it. */
export function tellToolStory(told: { seed: number; report: ToolCampaignReport }): string {
  const { findings, counts, elapsedMs, folder } = told.report;
  const numbers = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const lines = [
    `seed ${told.seed}: ${numbers.join(', ')}; ${Math.round(elapsedMs / 1000)} s`,
    findings.length === 0
      ? 'Nothing was found.'
      : `${findings.length} findings; files in ${folder}`,
  ];
  for (const [index, finding] of findings.entries()) {
    lines.push('', `* ${finding.what}`);
    if (index < MAX_FINDINGS)
      lines.push(...around(finding, told.report).map((one) => `    ${one}`));
  }
  return lines.join('\n');
}

function around({ session, call }: ToolFinding, { evidence }: ToolCampaignReport): string[] {
  const events = evidence.logs.find((log) => log.session === session)?.events ?? [];
  const own = events.filter((event) => call !== null && JSON.stringify(event).includes(call));
  const [first = 0, last = 0] = [own[0]?.seq, own.at(-1)?.seq];
  return events
    .slice(Math.max(0, first - 1 - AROUND), last + AROUND)
    .slice(0, MAX_LINES)
    .map(eventLine);
}

function eventLine({ seq, epoch, at, type, ...rest }: SessionEvent): string {
  const text = JSON.stringify(rest).replaceAll(/\s+/g, ' ');
  const brief = text.length <= 300 ? text : `${text.slice(0, 200)} … ${text.slice(-100)}`;
  return `${at.slice(11, 23)} log ${seq} (epoch ${epoch}) ${type} ${brief}`;
}
