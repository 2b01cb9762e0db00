import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { format } from 'prettier';
import { type Allowance, reaches, type Goal, type Row } from './rows.ts';
import { median } from './statistics.ts';

const ROOT = path.join(import.meta.dirname, '../..');

/** What a reader has to know of the machine, one fact a line. */
export function describeMachine(): string[] {
  const gib = totalmem() / 2 ** 30;
  const [load = 0] = loadavg();
  return [
    `${availableParallelism()} CPUs (${cpus()[0]?.model ?? 'unknown'}), ${gib.toFixed(0)} GiB of memory, ${process.platform} ${process.arch}`,
    `Node ${process.versions.node}`,
    `commit ${commit()}`,
    `other work on the machine when the run began: load average ${load.toFixed(1)}`,
    `appending 300 bytes and fdatasync: ${syncMs().toFixed(2)} ms (median of 100)`,
  ];
}

/** One row for people who watch. */
export function renderRow(row: Row): string {
  const { duragent, floor, pairs } = row.comparison;
  return `${row.figure}: ${renderFound(row)}, ${pairs} pairs; ${number(duragent)} / ${number(floor)} ${row.unit}; ${verdict(row)}`;
}

/** RESULTS.md. */
export async function renderReport(
  rows: readonly Row[],
  run: { machine: readonly string[]; seconds: number; leftOut: readonly string[] },
): Promise<string> {
  const lines = [
    '# Measured',
    '',
    'Written by `npm run bench`; do not edit. The built, bundled server with the compile cache on, beside floors in the same run. Duragent and its floor are measured by turns (A B, B A, …); what counts is the ratio of each pair (or the difference, where a goal is one), so that other work on the machine touches both.',
    '',
    '| figure | against | ratio, or what is more: median (min–max) | Duragent | floor | pairs | goal | |',
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(renderTableRow),
    '',
    'Columns "Duragent" and "floor" are medians.',
    '',
    ...renderMissed(rows),
    ...renderLeftOut(run.leftOut),
    '## What each row means',
    '',
    ...rows.flatMap((row) => [`- **${row.figure}**: ${row.meaning}`]),
    '',
    '## The floors',
    '',
    'The servers and what is imported are bundled by rolldown and begin with `module.enableCompileCache()`, as Duragent does; the sources are in `floors/`.',
    '',
    "- **floor**: the smallest koa server that relays the model's stream to the client as it comes, byte by byte, and appends and fdatasyncs one file per session twice a turn: the message before it calls the model, the answer before the response ends. It reads the answer's text out of the stream once, at the end. It keeps no history, so the model gets only the last message.",
    '- **gateway floor**: the smallest server of one gateway: it starts it and reads its lines. For the rows until the ack it parses each line, appends and fdatasyncs twice to one file, one after the other, and acknowledges it. For the row with 64 sessions it appends and fdatasyncs one file per session twice a message: the message before its ack, the answer before it is sent. Both servers are measured with the same scripted gateway (`floors/scripted-gateway.ts`), which says what it is told, answers at once, and measures itself.',
    '- **koa "hello"**: answers `hello`.',
    '- **importing grammy**: imports it, and ends.',
    '- **an empty script**: a file of 0 bytes.',
    '- **bwrap**: the sandbox itself, with the arguments that Duragent gives it, spawned by Node.',
    '- **calls 2 to 6**: those of the same turn.',
    '- **JSON.parse of the call**: of the text of the call that is judged.',
    '- **bare client**: that of the SDK of the Model Context Protocol, over its own transport.',
    '',
    'The model is a process of its own on loopback that speaks the wire format of OpenAI; behind gateways it is the echo model, in the server, and where tools are called one that plays a file, there too. Duragent runs with its default configuration; its agent has no prompt of its own.',
    '',
    '## This run',
    '',
    ...run.machine.map((fact) => `- ${fact}`),
    `- took ${run.seconds.toFixed(0)} s`,
    '',
    'To repeat it: `npm ci && npm run bench`. `-- --quick` and `-- --only <name>` (a wrong name lists them) only print.',
    '',
  ];
  return await format(lines.join('\n'), { parser: 'markdown', printWidth: 100 });
}

function renderMissed(rows: readonly Row[]): string[] {
  const missed = rows.filter((row) => verdict(row).startsWith('missed'));
  if (missed.length === 0) return [];
  const lines = missed.map(
    (row) => `- **${row.figure}**: ${verdict(row)}; ${row.whenMissed ?? 'not explained yet.'}`,
  );
  return ['## Missed', '', ...lines, ''];
}

function renderLeftOut(leftOut: readonly string[]): string[] {
  if (leftOut.length === 0) return [];
  return ['## Left out', '', ...leftOut.map((missing) => `- ${missing}`), ''];
}

function renderTableRow(row: Row): string {
  const { duragent, floor, pairs } = row.comparison;
  const cells = [
    row.figure,
    row.against,
    renderFound(row),
    `${number(duragent)} ${row.unit}`,
    `${number(floor)} ${row.unit}`,
    String(pairs),
    row.goal === undefined ? '' : renderGoal(row.goal, row.unit),
    verdict(row),
  ];
  return `| ${cells.join(' | ')} |`;
}

/** The ratio, or the difference where that is what the goal is about. */
function renderFound({ goal, comparison, unit }: Row): string {
  const { ratio, pairs } = comparison;
  if (goal === undefined || 'ratio' in goal) {
    const spread = pairs === 1 ? '' : ` (${number(ratio.min)}–${number(ratio.max)})`;
    return `${number(ratio.median)} ×${spread}`;
  }
  const { median: middle, min, max } = shared(goal, comparison);
  return `${middle < 0 ? '' : '+'}${number(middle)} ${unit} (${number(min)}–${number(max)})`;
}

/** What is more, for each of those that share it. */
function shared({ each = 1 }: Allowance, { more }: Row['comparison']): Row['comparison']['more'] {
  return { median: more.median / each, min: more.min / each, max: more.max / each };
}

function renderGoal(goal: Goal | Allowance, unit: string): string {
  if ('more' in goal) return `≤ +${goal.more} ${unit}`;
  const { sense, ratio, aim } = goal;
  const sign = sense === 'at most' ? '≤' : '≥';
  return `${sign} ${ratio} ×${aim === undefined ? '' : `, aim ${aim} ×`}`;
}

function verdict({ goal, comparison }: Row): string {
  if (goal === undefined) return 'for information';
  if ('more' in goal) {
    const { median: more } = shared(goal, comparison);
    return more <= goal.more ? 'met' : `missed by ${((more / goal.more - 1) * 100).toFixed(0)} %`;
  }
  const ratio = comparison.ratio.median;
  if (!reaches(ratio, goal.sense, goal.ratio)) {
    const off = Math.abs(ratio / goal.ratio - 1) * 100;
    return `missed by ${off.toFixed(0)} %`;
  }
  if (goal.aim === undefined) return 'met';
  return reaches(ratio, goal.sense, goal.aim) ? 'met, aim too' : 'met, aim not';
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  const isClean =
    git('status', '--porcelain', '--', 'apps', 'gateways', 'protocol', 'package-lock.json') === '';
  return `${git('rev-parse', '--short=12', 'HEAD')}${isClean ? '' : ' with changes that are not committed'}`;
}

/** What a durable append costs on the disk that the run uses. */
function syncMs(): number {
  const directory = mkdtempSync(path.join(tmpdir(), 'duragent-bench-disk-'));
  const file = openSync(path.join(directory, 'file'), 'a');
  try {
    const times = Array.from({ length: 100 }, () => {
      const startedAt = performance.now();
      writeSync(file, 'x'.repeat(300));
      fdatasyncSync(file);
      return performance.now() - startedAt;
    });
    return median(times);
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true });
  }
}
