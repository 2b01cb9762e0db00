import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { measureAcks, measureChats, measureNeighbours } from './gateway-messages.ts';
import { measureGatewayStart, measureServerMemory } from './gateway-starts.ts';
import { measureRecovery } from './recovery.ts';
import { describeMachine, renderReport, renderRow } from './report.ts';
import { fullSize, quickSize, type Row, type Size } from './rows.ts';
import { measureFirstStart, measureMemory, measureReady, measureVersion } from './starts.ts';
import { measureTelegram } from './telegram.ts';
import { measureMcp } from './tools-mcp.ts';
import { measurePolicy } from './tools-policy.ts';
import { measureCommands, measureGrowth } from './tools.ts';
import { measureLoad, measurePaced, measureTurn } from './turns.ts';
import { Workshop } from './workshop.ts';

// Measures the built server beside floors, pair by pair, and writes RESULTS.md.
//   --quick        fewer pairs, prints only
//   --only <name>  one measurement, prints only; may be given more than once

/** Nothing here takes so long that it would be worth waiting on. */
const DEADLINE_MS = 8 * 60_000;

const measurements: Record<string, (workshop: Workshop, size: Size) => Promise<Row[]>> = {
  turn: measureTurn,
  paced: measurePaced,
  load: measureLoad,
  ready: measureReady,
  'first-start': measureFirstStart,
  memory: measureMemory,
  version: measureVersion,
  recovery: measureRecovery,
  'gateway-ack': measureAcks,
  'gateway-chats': measureChats,
  'gateway-neighbours': measureNeighbours,
  'gateway-start': measureGatewayStart,
  'gateway-memory': measureServerMemory,
  telegram: measureTelegram,
  'tool-bash': measureCommands,
  'tool-growth': measureGrowth,
  'tool-policy': measurePolicy,
  'tool-mcp': measureMcp,
};

await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
    },
  });
  const unknown = values.only.filter((name) => !Object.hasOwn(measurements, name));
  if (unknown.length > 0) {
    throw new Error(
      `no measurement ${unknown.join(', ')}; there are: ${Object.keys(measurements).join(', ')}`,
    );
  }
  if (process.platform !== 'linux') {
    throw new Error('the bench reads CPU time and memory from /proc: run it on Linux');
  }
  const machine = describeMachine();
  await using workshop = await Workshop.open();
  const { duragent, telegram } = workshop.programs;
  const missing = [duragent, telegram].find((program) => !existsSync(program));
  if (missing !== undefined) throw new Error(`${missing} is missing: run \`npm run build\``);
  const leave = (): never => {
    void workshop[Symbol.asyncDispose](); // ends the processes and removes the directory before it returns
    process.exit(1);
  };
  process.once('SIGINT', leave);
  process.once('SIGTERM', leave);
  const deadline = setTimeout(() => {
    console.error(`The bench took longer than ${DEADLINE_MS / 1000} s.`);
    leave();
  }, DEADLINE_MS);

  const startedAt = performance.now();
  const rows: Row[] = [];
  try {
    for (const [name, measure] of Object.entries(measurements)) {
      if (values.only.length > 0 && !values.only.includes(name)) continue;
      const found = await measure(workshop, values.quick ? quickSize : fullSize);
      for (const row of found) console.log(renderRow(row));
      rows.push(...found);
    }
  } catch (error) {
    console.error(workshop.logs());
    throw error;
  } finally {
    clearTimeout(deadline);
  }
  const { leftOut } = workshop;
  for (const missing of leftOut) console.log(`left out: ${missing}`);
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`${seconds.toFixed(0)} s`);
  if (values.quick || values.only.length > 0) return;
  const file = path.join(import.meta.dirname, 'RESULTS.md');
  writeFileSync(file, await renderReport(rows, { machine, seconds, leftOut }));
  console.log(`wrote ${path.relative(process.cwd(), file)}`);
}
