import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commandOf } from '../chaos/processes.ts';
import { runToolCampaign, tidyModes } from '../chaos/tools-campaign.ts';
import { killAll, processesIn } from '../chaos/tools-processes.ts';
import { tellToolStory } from '../chaos/tools-story.ts';
import { bash, toolAgent } from '../support/consent.ts';
import { Workspace } from '../support/duragent.ts';
import { freezeBelow, thaw } from '../support/freeze-below.ts';
import { ToolLedger } from '../support/tool-ledger.ts';
import { until } from '../support/until.ts';

/** How often the server is killed; many more with `npm run chaos -- --tools --kills 1500`. */
const KILLS = Number(process.env['DURAGENT_KILLS'] ?? 6);
const SEED = Number(process.env['DURAGENT_SEED'] ?? 1);

// Processes are found in /proc, and have to end with their server.
const modes = process.platform === 'linux' ? tidyModes() : [];

test.skipIf(modes.length === 0)(
  `${KILLS} kills of servers (seed ${SEED}) while tools run: no effect twice, none claimed, no process left`,
  { timeout: 150_000 + KILLS * 8_000 },
  async () => {
    const report = await runToolCampaign({ seed: SEED, kills: KILLS, checkEvery: 100 });
    const { counts, findings } = report;
    if (findings.length > 0) throw new Error(tellToolStory({ seed: SEED, report }));
    expect(counts['took effect']).toBeGreaterThan(KILLS / 2);
    // The kills met calls, so that their outcome was in doubt.
    expect(counts['unknown']).toBeGreaterThan(0);
  },
);

/** How often each moment of a start is tried. */
const TRIES = 3;
/** How often a process has to be missing. */
const LOOKS_AFTER = 50;
/** Says nothing, so that nobody who is gone has to hear it. */
const COMMAND = 'sleep 31';
/** How long a process may outlive its server, in ms. */
const OUTLIVE_MS = 2_000;

// Whoever starts a command has it end with the server, but only from some moment of its start on.
describe.each(modes)('a command in %s', (mode) => {
  let workspace: Workspace;
  let ledger: ToolLedger;
  beforeEach(async () => {
    workspace = await Workspace.create({ busy: toolAgent(['bash']) });
    ledger = await ToolLedger.create([path.join(workspace.dir, 'work')]);
    const sandbox = { mode, workspace: ledger.folders[0] };
    // JSON is YAML.
    await workspace.configure(JSON.stringify({ sandbox }));
    const policy = path.join(workspace.dataDir, 'agents', 'busy', 'policy.yaml');
    await writeFile(policy, 'mode: dangerous\n');
  });
  afterEach(async () => {
    killAll(processesIn(path.dirname(workspace.dir)));
    await workspace.close();
  });

  test.each([1, 2])(
    'that is being started when its server is killed does not run on (process %i of its start)',
    async (depth) => {
      for (let attempt = 1; attempt <= TRIES; attempt += 1) {
        const { api, run } = await workspace.serve();
        const { session } = await api.createSession({ agent: 'busy' });
        // The sandbox is tried at the first command: here nothing else is started any more.
        await api.ask(session, bash(`./act plain warm${attempt} 0 0`));
        const asked = api.say(session, bash(`${COMMAND} && true`));
        const frozen = await freezeBelow(run.pid, depth);
        run.child.kill('SIGKILL');
        await until('the server is dead', () => !run.isRunning);
        thaw(frozen);
        // Process 1 of bubblewrap may wait for ever for one that is dead: it runs nothing.
        const runs = (): boolean =>
          processesIn(path.dirname(workspace.dir)).some((pid) => commandOf(pid) === COMMAND);
        // One that is becoming another program looks for a moment as if it had ended.
        let looks = 0;
        const isOver = (): boolean => (looks = runs() ? 0 : looks + 1) >= LOOKS_AFTER;
        await until('it runs no more', isOver, OUTLIVE_MS).catch(() => undefined);
        expect(runs()).toBe(false);
        await Promise.all([run.exit(), asked.catch(() => undefined)]);
      }
    },
  );
});
