import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type CampaignOptions, runCampaign } from './campaign.ts';
import { plant, plantedBugs } from './planted.ts';
import { tellStory } from './story.ts';
import { runToolCampaign } from './tools-campaign.ts';
import { plantedToolBugs } from './tools-planted.ts';
import { tellToolStory } from './tools-story.ts';

// Kills servers and gateways while people speak with a bot, and checks that nothing is lost or doubled.
//   --tools           kills servers while their agents run commands and ask people, instead
//   --seed N          what is done, and to whom; when, is up to the machine
//   --kills K         default 200
//   --minutes M       begins no kill after so long
//   --check-every C   kills between two checks
//   --planted NAME    puts a fault into a copy of the sources, and succeeds when it is found; all: each
//   --quiet           tells only what came of it

process.once('SIGINT', () => process.exit(130));
process.exitCode = await main();

/** @returns the exit code: 0; 1 when something was found, or a planted fault was not; 2 for wrong arguments. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      kills: { type: 'string' },
      minutes: { type: 'string', default: '0' },
      'check-every': { type: 'string' },
      planted: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      tools: { type: 'boolean', default: false },
    },
  });
  const { planted, quiet, tools } = values;
  const seed = numberOf('seed', values.seed);
  const minutes = numberOf('minutes', values.minutes);
  const kills = numberOf('kills', values.kills ?? (planted === undefined ? '200' : '60'));
  const usual = planted === undefined ? '50' : '5';
  const checkEvery = Math.max(1, numberOf('check-every', values['check-every'] ?? usual));
  if (planted === undefined) {
    const maxMs = minutes * 60_000;
    const options = { seed, kills, checkEvery, maxMs, ...(quiet ? {} : { tell: say }) };
    const found = tools ? await huntTools(options) : await hunt(options);
    return found === 0 ? 0 : 1;
  }
  const names = planted === 'all' ? Object.keys(tools ? plantedToolBugs : plantedBugs) : [planted];
  let missed = 0;
  for (const name of names) {
    const isCaught = await tryPlanted(name, { seed, kills, checkEvery, tools });
    if (!isCaught) missed += 1;
  }
  return missed === 0 ? 0 : 1;
}

/** Runs a campaign, and tells what came of it. @returns how much it found. */
async function hunt(options: CampaignOptions): Promise<number> {
  const report = await runCampaign(options);
  say(tellStory({ seed: options.seed, report }));
  return report.findings.length;
}

async function huntTools(options: CampaignOptions): Promise<number> {
  const report = await runToolCampaign(options);
  say(tellToolStory({ seed: options.seed, report }));
  return report.findings.length;
}

/** Runs a campaign against a copy of the product with a fault in it. @returns whether that was found. */
async function tryPlanted(
  name: string,
  options: { seed: number; kills: number; checkEvery: number; tools: boolean },
): Promise<boolean> {
  const bugs = options.tools ? plantedToolBugs : plantedBugs;
  const bug = bugs[name];
  if (bug === undefined) {
    throw new Error(`there is no ${name}; there are ${Object.keys(bugs).join(', ')}, all`);
  }
  await using copy = await plant(bug.edits);
  const { seed, kills, checkEvery } = options;
  const args = ['--seed', seed, '--kills', kills, '--check-every', checkEvery, '--quiet'];
  if (options.tools) args.push('--tools');
  const child = spawn(
    process.execPath,
    ['--conditions=@duragent/source', 'test/chaos/run.ts', ...args.map(String)],
    { cwd: copy.root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const end = (): void => void child.kill('SIGTERM');
  process.once('exit', end);
  let told = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  await once(child, 'close');
  process.off('exit', end);
  const needed = /^seed \d+: kills (\d+)/m.exec(told)?.[1];
  if (needed === undefined || (child.exitCode !== 0 && child.exitCode !== 1)) {
    throw new Error(`the campaign against ${name} broke off:\n${told}`);
  }
  const isCaught = child.exitCode === 1;
  // What it left to be looked at says nothing about the product.
  const left = /; files in (\S+)$/m.exec(told)?.[1];
  if (left !== undefined) await rm(left, { recursive: true, force: true });
  const what = /^\* (.*)$/m.exec(told)?.[1] ?? '';
  say(
    isCaught
      ? `${name}: found after ${needed} kills: ${what}`
      : `${name}: NOT found by ${needed} kills`,
  );
  return isCaught;
}

function numberOf(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name} is a whole number, not ${text}`);
  return Number(text);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
